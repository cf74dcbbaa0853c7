"""One node in front of one scripted director: OpenFL's own envoy or ours, from the same files with the same options."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from fedenvoy.demo.child import Child, Lines
from fedenvoy.demo.federation import copy_files
from fedenvoy.testing import RecordedCall, SandboxDirector
from interop.differential import seen
from support.sources import source_path

__all__ = ["Kind", "Observed", "Site", "Stage", "stage"]

PATIENCE = 90.0
"""Seconds for a program to come as far as its first call, on a machine that is busy with others."""

USER = Path(__file__).with_name("user.py")


class Kind(Enum):
    """The two programs."""

    ORIGINAL = "original"
    OURS = "ours"


Observed = Mapping[str, str]
"""What was seen of a node, by aspect."""


@dataclass(frozen=True)
class Site:
    """What a node is started with.

    Attributes:
        params: The `params` section of its configuration.
        review: What the user's own callback does ("yes", "no", "raise"); empty: the command line starts the node.

    """

    params: Mapping[str, Any] = field(default_factory=dict)
    review: str = ""


class Stage:
    """What a script may do: order the director about, start the node, wait for what comes of it.

    Attributes:
        director: The director.

    """

    def __init__(self, kind: Kind, site: Site, director: SandboxDirector, place: Path, python: Path) -> None:
        self.director = director
        self._kind, self._site, self._place, self._python = kind, site, place, python
        self._lines = Lines()
        self._said: list[str] = []
        self._child: Child | None = None
        self._limit = 0
        self._watched: tuple[RecordedCall, ...] = ()
        self._until = 0.0

    # ---- The node

    @property
    def is_original(self) -> bool:
        """Whether this is OpenFL's own envoy."""
        return self._kind is Kind.ORIGINAL

    def start(self, *, registers: bool = True) -> None:
        """Start the node, and wait until it registers."""
        copy_files(self._place, "plane_shard.py")
        content = {
            "params": {"install_requirements": False, "cuda_devices": [], **self._site.params},
            "shard_descriptor": {"template": "plane_shard.PlaneShard", "params": {"seed": 1, "samples": 20}},
            # OpenFL does not read this section.
            "agent": {"python": str(self._python), "kill_grace": 1},
        }
        (self._place / "envoy_config.yaml").write_text(yaml.safe_dump(content), "utf-8")
        self._child = Child(
            self._kind.value,
            self._argv(),
            cwd=self._place,
            log=self._place.with_suffix(".log"),
            lines=self._lines,
            environment=self._environment(),
            grace=0.5 if self._kind is Kind.ORIGINAL else 10,
        )
        if registers:
            self.director.wait_for_calls("UpdateShardInfo", timeout=PATIENCE)

    def _argv(self) -> list[str]:
        ours = self._kind is Kind.OURS
        port = str(self.director.address.port)
        if self._site.review:
            python = sys.executable if ours else str(self._python)
            install = str(self._site.params.get("install_requirements", False))
            return [python, str(USER), self._kind.value, port, self._site.review, install, str(self._python)]
        program = [sys.executable, "-m", "fedenvoy"] if ours else [str(self._python.with_name("fx")), "envoy"]
        options = ["-n", "one", "-dh", "127.0.0.1", "-dp", port, "--disable-tls", "-ec", "envoy_config.yaml"]
        return [*program, "start", *options]

    def _environment(self) -> dict[str, str]:
        state = self._place.with_suffix(".state")
        state.mkdir()
        # Wide: OpenFL wraps its log lines at the terminal's width. Its home is its own: switches are kept there.
        told = {"COLUMNS": "200", "HOME": str(state), "STATE_DIRECTORY": str(state), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**told, "PYTHONPATH": "" if self.is_original else source_path()}

    def close(self) -> None:
        """End the node, if it was started."""
        if self._child is not None:
            self._child.stop()

    @property
    def node(self) -> Child:
        """The node; it must have been started."""
        assert self._child is not None
        return self._child

    def hears(self, original: str, ours: str) -> None:
        """Wait until the node writes a line that holds a text."""
        text = original if self._kind is Kind.ORIGINAL else ours
        until = time.monotonic() + PATIENCE
        while not any(text in line for line in self._said):
            self._said.append(self._line(until, text))

    def _line(self, until: float, text: str) -> str:
        try:
            return self._lines.get(timeout=max(0.0, until - time.monotonic())).text
        except queue.Empty:
            raise TimeoutError(f"the node did not say {text!r}: {self.node.tail(5)}") from None

    def ends(self, within: float) -> None:
        """Give the node some seconds to end."""
        self.node.wait(within)

    # ---- The director

    def at_rest(self) -> None:
        """Wait until the node has polled and checked its health."""
        self.director.wait_for(lambda calls: {"WaitExperiment", "UpdateEnvoyStatus"} <= {c.method for c in calls}, 30)

    def watch(self, calls: int, checks: int = 0, *, within: float) -> None:
        """Wait until so many calls and health checks were seen in all, or the seconds are over.

        What came later is no part of what is compared, nor is a call beyond that number.
        """
        self._limit = calls

        def enough(came: tuple[RecordedCall, ...]) -> bool:
            beats = sum(call.method == seen.CHECK for call in came)
            return len(came) - beats >= calls and beats >= checks

        # A program that has ended calls nobody.
        patience = within if self.node.exit_code is None else 0.5
        with contextlib.suppress(TimeoutError):
            self.director.wait_for(enough, patience)
        self._freeze()

    def look_on(self, calls: int, *, seconds: float) -> None:
        """Look on for some seconds, whatever comes; as `watch` otherwise."""
        self._limit = calls
        time.sleep(seconds)
        self._freeze()

    def _freeze(self) -> None:
        self._watched, self._until = self.director.calls, time.monotonic()

    # ---- What was seen

    def observed(self) -> Observed:
        """Tell what was seen, and how the node stands."""
        code = self.node.exit_code
        end = "alive" if code is None else f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        calls = self._watched
        told = {
            "calls": seen.calls_of(calls, self._limit),
            "health": seen.checks_of(calls),
            "report": seen.words_of(calls),
            "end": end,
            "files": self._files(),
        }
        return {**told, **self._reviewed()}

    def window(self) -> float | None:
        """Give the seconds from the first registration to the first poll; None where one of the two did not come."""
        first = {call.method: call.at for call in reversed(self.director.calls)}
        if not {"UpdateShardInfo", "WaitExperiment"} <= first.keys():
            return None
        return first["WaitExperiment"] - first["UpdateShardInfo"]

    def pace(self) -> str:
        """Tell how often it checked its health."""
        return seen.pace_of(self._watched)

    def checks(self) -> str:
        """Tell whether it still checks its health, where the director asked for it each second."""
        last = max((call.at for call in self._watched if call.method == seen.CHECK), default=0.0)
        return "go on" if self._until - last < 2.5 else "have ceased"

    def _files(self) -> str:
        """Tell what lies in the node's working directory that was not given to it."""
        given = {"plane_shard.py", "envoy_config.yaml"}
        kinds = {
            "directories" if path.is_dir() else "files" for path in self._place.iterdir() if path.name not in given
        }
        return ", ".join(sorted(kinds)) or "none"

    def _reviewed(self) -> Observed:
        if not self._site.review:
            return {}
        log = self.node.log.read_text("utf-8").splitlines()
        told = [json.loads(line)["review"] for line in log if line.startswith('{"review"')]
        return {"review": "; ".join(told) or "not asked"}


@contextlib.contextmanager
def stage(
    kind: Kind, site: Site, director: Callable[[], SandboxDirector], place: Path, python: Path
) -> Iterator[Stage]:
    """Set a stage up in a directory that is made, and end everything on it with the block."""
    place.mkdir()
    with contextlib.ExitStack() as stack:
        served = director()
        stack.callback(served.close)
        on = Stage(kind, site, served, place, python)
        stack.callback(on.close)
        yield on
