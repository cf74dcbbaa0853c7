"""The director as a process that can be killed, frozen and started again, empty."""

from __future__ import annotations

import base64
import json
import select
import signal
import subprocess
import sys
from typing import Any

from fedenvoy.testing.ports import ReservedPort

from chaos.agent import environment
from chaos.place import Experiment, Place

__all__ = ["DirectorProcess"]

PATIENCE = 30.0
"""Seconds to wait for any of its answers."""


class DirectorProcess:
    """A director on one port; use it as a context manager. While it is down, connections are refused.

    Args:
        place: Where its files lie.
        period: Seconds between health checks.

    """

    def __init__(self, place: Place, period: float = 1.0) -> None:
        self._place = place
        self._period = period
        self._reserved = ReservedPort("127.0.0.1")
        self._process: subprocess.Popen[bytes] | None = None
        self._notes = place.root / "calls.jsonl"
        self.frozen = False

    def __enter__(self) -> DirectorProcess:  # noqa: PYI034 - Self is newer than Python 3.10
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        self._reserved.close()

    @property
    def port(self) -> int:
        return self._reserved.port

    @property
    def up(self) -> bool:
        return self._process is not None and not self.frozen

    def start(self) -> None:
        """Start it, empty; returns when it serves."""
        assert self._process is None
        arguments = [str(self.port), str(self._place.files), str(self._notes), str(self._period)]
        with (self._place.root / "director.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chaos.serve", *arguments],
                env=environment(self._place),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._answer()

    def kill(self) -> None:
        """Kill -9; harmless when it is down."""
        process, self._process = self._process, None
        self.frozen = False
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def restart(self) -> None:
        """Kill -9, and start it again at once: it knows nothing any more."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay, new ones are taken by the system, nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            self.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None and self.frozen:
            self._process.send_signal(signal.SIGCONT)
            self.frozen = False

    def offer(self, experiment: Experiment) -> dict[str, Any]:
        """Submit an experiment."""
        packed = base64.b64encode(self._place.archive(experiment)).decode("ascii")
        return self._ask(do="offer", name=experiment.name, archive=packed)

    def hold(self, method: str, *, after_chunks: int = 0) -> dict[str, Any]:
        """Let the next call of a method go unanswered until `heal`; of a stream, what follows after some chunks."""
        return self._ask(do="hold", method=method, after_chunks=after_chunks)

    def heal(self) -> dict[str, Any]:
        """Answer what is held."""
        return self._ask(do="heal")

    def state(self) -> dict[str, Any]:
        """Give `registered`, `running`, `parked` (polls) and `unfinished` (names it would still offer)."""
        return self._ask(do="tell")

    def notes(self, method: str | None = None) -> list[dict[str, Any]]:
        """Give the calls that ever came in, those of all its lives."""
        lines = self._notes.read_text("utf-8").splitlines() if self._notes.exists() else []
        return [told for told in map(json.loads, lines) if method in {None, told["method"]}]

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            log = (self._place.root / "director.log").read_text("utf-8", "replace")
            raise RuntimeError(f"the director does not answer: {log[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer
