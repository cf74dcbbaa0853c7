"""Finds and ends what an experiment started, wherever it went: a leaf that knows /proc and nothing of the agent.

A process belongs to an experiment when it lives in its session or carries its mark in the environment. The second finds
what left the session (a daemon that forked twice), also after a restart of the agent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MARK", "end_marked", "members"]

logger = logging.getLogger(__name__)

MARK = "FEDENVOY_RUN"
"""The environment variable that every process of an experiment inherits; its value is the run's own token."""
PATIENCE = 5.0
"""Seconds to wait until killed processes are gone; more only helps where the kernel itself is stuck."""

_PAUSE = 0.01
_PROC = Path("/proc")


def end_marked(token: str, session: int | None = None, keep: int | None = None) -> tuple[int, ...]:
    """Kill every process of a run and wait until all are gone.

    Args:
        token: The run's mark.
        session: Id of the session that its first process leads; None when that is over or not known.
        keep: A process to kill, but whose end another will wait for.

    Returns:
        The processes that are still there: empty, unless the kernel holds one.

    """
    deadline = time.monotonic() + PATIENCE
    while left := tuple(members(token, session)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            logger.warning("processes of an experiment that do not end: %s", ", ".join(map(str, left)))
            return left
        time.sleep(_PAUSE)
        _collect(left, keep)
    return ()


def members(token: str, session: int | None = None) -> Iterator[int]:
    """Give the living processes of a run; never this one."""
    mark = f"{MARK}={token}".encode()
    for entry in os.listdir(_PROC):  # noqa: PTH208 - names, not paths
        if entry.isdecimal() and int(entry) != os.getpid() and _belongs(_PROC / entry, mark, session):
            yield int(entry)


def _belongs(process: Path, mark: bytes, session: int | None) -> bool:
    try:
        # The command stands in parentheses and may hold anything; state, parent, group and session follow.
        state, _, _, leader = (process / "stat").read_bytes().rpartition(b")")[2].split()[:4]
        if state in {b"Z", b"X"}:
            return False
        if session is not None and int(leader) == session:
            return True
        return mark in (process / "environ").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return False  # it ended meanwhile, or is another user's


def _collect(pids: tuple[int, ...], keep: int | None) -> None:
    """Take the exit codes of those that became this process's children: it may be the first one of a container."""
    for pid in pids:
        if pid != keep:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
