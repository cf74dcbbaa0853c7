"""The lock of an environment that is being built: it lasts as long as the installer, not only as long as the agent."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from fedenvoy.processes import end_marked
from fedenvoy.workspace.failures import RequirementsError

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel

__all__ = ["Lock", "locked"]

logger = logging.getLogger(__name__)


@frozen
class Lock:
    """An environment's lock, held."""

    descriptor: int
    """Kept open by the installer too: should the agent be killed, the lock lasts as long as the installer."""
    token: str
    """The mark of the installer's processes, which also stands in the lock's file."""


@contextlib.contextmanager
def locked(path: Path, timeout: float, cancel: Cancel) -> Iterator[Lock]:
    """Hold the lock of an environment, against other threads and other agents.

    Raises:
        RequirementsError: Another held it for `timeout` seconds.
        Cancelled: When `cancel` was cancelled meanwhile.

    """
    deadline = time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _take(descriptor):
            _end_orphan(descriptor)
            if cancel.wait(0.1):
                cancel.raise_if_cancelled()
            if time.monotonic() > deadline:
                raise RequirementsError("another agent builds the same environment and does not end", "timeout")
        _end_orphan(descriptor)  # a confined one, which does not hold the lock
        lock = Lock(descriptor, uuid.uuid4().hex)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {lock.token}".encode("ascii"), 0)
        try:
            yield lock
        finally:
            os.ftruncate(descriptor, 0)  # nothing is left of what was started under this mark
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_orphan(descriptor: int) -> None:
    """End an installer whose agent is gone, although it still holds the lock: nobody waits for it any more."""
    pid, _, token = os.pread(descriptor, 100, 0).decode("ascii", "replace").partition(" ")
    if pid.isdecimal() and token and not Path("/proc", pid).exists():
        logger.warning("ending an installation that was left behind by a killed agent")
        end_marked(token)
