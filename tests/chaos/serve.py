"""The director's program: a sandbox director in a process of its own, told what to do on standard input.

Each line is a JSON object with `do`; each is answered by one line. Every call that comes in is noted in a file first,
so that kill -9 leaves the notes of all that was ever told.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedenvoy.testing import RecordedCall, SandboxDirector

from chaos.place import NODE

__all__ = ["main"]


class _Over:
    """When an experiment is over: its training said so, or it failed and was offered once more since.

    The director of OpenFL goes on offering a failed experiment for up to ten seconds.
    """

    def __init__(self, director: SandboxDirector, name: str, done: Path) -> None:
        self._director = director
        self._name = name
        self._done = done
        self._offered_again = False

    def __call__(self) -> bool:
        if self._done.exists():
            return True
        if not self._director.experiments[self._name].failed:
            return False
        again, self._offered_again = self._offered_again, True
        return again


class _Desk:
    """Does what the lines say."""

    def __init__(self, director: SandboxDirector, files: Path) -> None:
        self._director = director
        self._files = files

    def do(self, order: Mapping[str, Any]) -> dict[str, Any]:
        director = self._director
        if order["do"] == "offer":
            name = order["name"]
            over = _Over(director, name, self._files / f"{name}.done")
            director.offer(name, base64.b64decode(order["archive"]), [NODE], over=over)
        elif order["do"] == "hold":
            director.hold(order["method"], 1, after_chunks=order["after_chunks"])
        elif order["do"] == "heal":
            director.heal()
        return self._state()

    def _state(self) -> dict[str, Any]:
        director = self._director
        node = director.nodes.get(NODE)
        unfinished = [
            name
            for name, experiment in director.experiments.items()
            if not experiment.failed and not (self._files / f"{name}.done").exists()
        ]
        return {
            "registered": node is not None,
            "running": node is not None and node.running,
            "parked": director.parked(NODE),
            "unfinished": unfinished,
        }


def main(port: int, files: Path, notes: Path, period: float) -> None:
    """Serve until standard input ends."""
    pad = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(call: RecordedCall) -> None:
        told = {
            "method": call.method,
            "experiment": getattr(call.request, "experiment_name", ""),
            "running": getattr(call.request, "is_experiment_running", None),
            "at": time.time(),
            "life": os.getpid(),
        }
        os.write(pad, json.dumps(told).encode() + b"\n")

    with SandboxDirector(port=port, period=period, chunk_size=256, reoffers=True, observe=note) as director:
        desk = _Desk(director, files)
        print(json.dumps({"port": director.address.port}), flush=True)
        for line in sys.stdin:
            print(json.dumps(desk.do(json.loads(line))), flush=True)
    os._exit(0)  # whatever gRPC still does must not hold the process


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
