"""Looks at this machine's processes: which carry a schedule's mark, who is whose child."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MARK", "Seen", "kill", "marked"]

MARK = "FEDENVOY_CHAOS"
"""The variable that everything inherits which an agent under test starts."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One living process."""

    pid: int
    parent: int
    command: str


def marked(mark: str) -> list[Seen]:
    """Give the living processes that carry a mark; one that has ended and waits to be collected does not live."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError):
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state not in {b"Z", b"X"} and wanted in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found.append(Seen(int(entry.name), int(parent), command))
    return found


def kill(seen: list[Seen], number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to some; those that are gone already do not matter."""
    for process in seen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
