"""Room kept back beside the journal, so that on a full disk the last records of a session can still be written."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

__all__ = ["Reserve"]

SIZE = 128 * 1024
"""Bytes: room for some thirty pages of the journal, which is more than an end with a long verdict needs."""
_NOT_OFFERED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Reserve:
    """A file that takes room and holds nothing.

    Args:
        path: Where it lies.
        size: Bytes that it takes.

    """

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self._path = path
        self._size = size
        self._guard = threading.Lock()

    def make(self) -> bool:
        """Take the room, unless that is done; tell whether it is taken. Thread-safe."""
        with self._guard:
            try:
                if self._path.stat().st_blocks * 512 >= self._size:
                    return True
            except OSError:
                pass
            try:
                self._allocate()
            except OSError:
                self._give_back()
                return False
            return True

    def _allocate(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        with os.fdopen(descriptor, "wb", 0) as file:
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            except OSError as error:
                if error.errno not in _NOT_OFFERED:
                    raise
                # A file system that cannot reserve may well pack zeros away to nothing.
                view = memoryview(os.urandom(self._size))
                while view:
                    view = view[file.write(view) :]
                os.fsync(descriptor)

    def release(self) -> bool:
        """Give the room back; tell whether there was any. Thread-safe."""
        with self._guard:
            return self._give_back()

    def _give_back(self) -> bool:
        try:
            had = self._path.stat().st_size > 0
            os.truncate(self._path, 0)  # some full file systems can still cut a file, but not remove one
        except OSError:
            return False
        with contextlib.suppress(OSError):
            self._path.unlink()
        return had
