"""One agent per state directory: a lock that the kernel drops when its holder dies, so that none is ever stale."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from fedenvoy.errors import DISK_FULL, NodeBusyError, StoreError
from fedenvoy.store.filesystem import refuse_network

__all__ = ["LOCK", "StateLock"]

LOCK = "agent.lock"
"""Name of the file in a state directory that its agent has locked; holds that agent's process id."""

_HELD = frozenset({errno.EAGAIN, errno.EACCES})


class StateLock:
    """Holds a state directory from construction until `release`.

    Raises:
        NodeBusyError: Another process holds it; the message names its process id.
        StoreError: The directory cannot be made or written, or knows no locks.

    """

    def __init__(self, directory: Path) -> None:
        refuse_network(directory)
        self._path = directory / LOCK
        self._fd = -1
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError as error:
            held = self._fd >= 0 and error.errno in _HELD
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() if held else ""
            self.release()
            if held:
                raise NodeBusyError(
                    f"another agent of this name and director runs here (process {holder or 'unknown'}, state "
                    f"directory {directory}): stop it first, or give this one another shard name or state directory"
                ) from error
            raise StoreError(_sentence(directory, error)) from error

    def release(self) -> None:
        """Let the directory go; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _sentence(directory: Path, error: OSError) -> str:
    room = "make room there, or " if error.errno in DISK_FULL else ""
    return (
        f"state directory {directory} cannot be used ({error.strerror}): {room}give another one with agent.state_dir "
        "or --state-dir"
    )
