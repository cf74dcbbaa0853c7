"""One agent per state directory: a lock that the kernel drops when its holder dies, so that none is ever stale."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from fedenvoy.errors import NodeBusyError, StoreError

__all__ = ["StateLock"]


class StateLock:
    """Holds a state directory from construction until `release`.

    Raises:
        NodeBusyError: Another process holds it; the message names its process id.
        StoreError: The directory cannot be made or written.

    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "agent.lock"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"state directory {directory} cannot be used ({error.strerror}): give another one with "
                "agent.state_dir or --state-dir"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise NodeBusyError(
                f"another agent of this name and director runs here (process {holder}, state directory {directory}): "
                "stop it first, or give this one another shard name or state directory"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let the directory go; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
