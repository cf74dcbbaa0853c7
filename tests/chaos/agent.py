"""The agent under test: `python -m fedenvoy start`, killed, stopped, frozen and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from support.sources import source_path

from chaos.place import NODE, Place
from chaos.processes import MARK, Seen, kill, marked
from chaos.replay import Line, read_ends, read_journal, read_outbox

__all__ = ["SETTINGS", "Agent", "environment", "wait_for"]

SETTINGS: Mapping[str, Any] = {
    "kill_grace": 1,
    "orphan_timeout": 3,
    "drain_timeout": 2,
    "stop_timeout": 2,
    "link": {"call_timeout": 2},
    "fetch": {"idle_timeout": 2},
}
"""Quick where the defaults are patient."""
PAUSE = 0.02
"""Seconds between two looks."""
TESTS = Path(__file__).resolve().parents[1]


def wait_for(question: Callable[[], Any], timeout: float) -> bool:
    """Ask a question again and again until it has a true answer; tell whether it had one in time."""
    deadline = time.monotonic() + timeout
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def environment(place: Place, **more: str) -> dict[str, str]:
    """Give the variables of a program under test; nothing of it goes to the user's own directories."""
    sources = [source_path(), str(TESTS)]
    return {
        **os.environ,
        "UV_FIND_LINKS": str(place.links),
        "PYTHONPATH": os.pathsep.join(filter(None, sources)),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(place.tmp),
        "HOME": str(place.root),
        "XDG_CACHE_HOME": str(place.root / "cache"),
        "no_grpc_proxy": "localhost,127.0.0.1",
        **more,
    }


class Agent:
    """One node of one director; any number of processes, one after the other.

    Args:
        place: Where it lives.
        port: The director's, or a relay's.
        host: Likewise.
        settings: Of the `agent:` section, on top of `SETTINGS`.
        before: Words before the command line, such as those of `nsenter`.

    """

    def __init__(
        self,
        place: Place,
        port: int,
        *,
        host: str = "127.0.0.1",
        settings: Mapping[str, Any] | None = None,
        before: tuple[str, ...] = (),
    ) -> None:
        self.place = place
        self.mark = uuid.uuid4().hex
        self.kills = 0
        self.starts = 0
        self._before = before
        self._address = ("-dh", host, "-dp", str(port))
        self._process: subprocess.Popen[bytes] | None = None
        self._earlier: set[int] = set()
        self.log = place.root / "agent.log"
        content = {
            "params": {"install_requirements": True},
            "shard_descriptor": {"template": "my_shard.NumbersShard", "params": {"rank": 2}},
            "agent": {
                **SETTINGS,
                "state_dir": str(place.state),
                # Experiments and builds are held by files of the schedule's, which a sandboxed build does not see;
                # confined processes are tried in tests/integration/test_engines_confined.py and in tests/hostile.
                "isolation": "process",
                **(settings or {}),
            },
        }
        (place.home / "envoy_config.yaml").write_text(yaml.safe_dump(content), "utf-8")

    def __enter__(self) -> Agent:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        kill(self.leftovers())

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start a process; the last one must have ended."""
        assert not self.alive
        self.starts += 1
        self._earlier = {line.session for line in self.lines()}
        command = [*self._before, sys.executable, "-m", "fedenvoy", "start", "-n", NODE, *self._address]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--disable-tls"],
                cwd=self.place.home,
                env=environment(self.place, **{MARK: self.mark}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        if self.alive:
            self.kills += 1
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; harmless when it has ended."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout: float) -> int | None:
        """Wait for the end; give the exit code, None when it did not come."""
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout: float = 20.0) -> int | None:
        """Ask for the end and wait for it; give the exit code, None when it did not come."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    # ---- What it has written and started

    def lines(self) -> tuple[Line, ...]:
        """Give the journal, all sessions."""
        path = self.place.journal
        return read_journal(path) if path is not None else ()

    def outbox(self) -> tuple[str, ...]:
        """Give the ids of the verdicts that have not been sent."""
        path = self.place.journal
        return read_outbox(path) if path is not None else ()

    def ends(self) -> tuple[str, ...]:
        """Give how each session ended, in one word; empty where it goes on."""
        path = self.place.journal
        return read_ends(path) if path is not None else ()

    def session(self) -> list[Line]:
        """Give the lines of the present session; none while the process has not written its first."""
        return [line for line in self.lines() if line.session not in self._earlier]

    @property
    def state(self) -> str:
        """The present session's state as the journal has it; empty before its first record."""
        session = self.session()
        return session[-1].target if session else ""

    def wait_state(self, state: str, timeout: float = 20.0) -> bool:
        """Wait until the node is in a state; tell whether it came to be."""
        return wait_for(lambda: self.state == state, timeout)

    def wait_event(self, event: str, timeout: float = 20.0, *, since: int = 0) -> bool:
        """Wait until the journal has an event after so many lines of it."""
        return wait_for(lambda: any(line.event == event for line in self.lines()[since:]), timeout)

    def leftovers(self) -> list[Seen]:
        """Give the living processes that it, or an earlier one, has started; never itself."""
        mine = self.pid if self.alive else 0
        return [seen for seen in marked(self.mark) if seen.pid != mine]

    def experiments(self) -> tuple[list[Seen], list[Seen]]:
        """Give the guards and the experiments' first processes that run now."""
        found = self.leftovers()
        guards = [seen for seen in found if seen.parent == self.pid and "bootstrap.py" in seen.command]
        ids = {seen.pid for seen in guards}
        return guards, [seen for seen in found if seen.parent in ids]

    def installers(self) -> list[Seen]:
        """Give the running uv."""
        return [seen for seen in self.leftovers() if seen.parent == self.pid and "/uv " in seen.command]

    def told(self) -> str:
        """Give the log of all its processes."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""
