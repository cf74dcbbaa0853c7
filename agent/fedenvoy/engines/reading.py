"""Reads what an experiment may have written: never through a link, never from what is no plain file, never much.

An experiment can put anything under any name in its own directory: a link to a key, a pipe that nobody writes to, a
file without end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["read_regular"]


def read_regular(path: Path, most: int, *, tail: bool = False) -> bytes | None:
    """Read a plain file.

    Args:
        path: The file.
        most: Bytes to read.
        tail: Of a longer file, give its last bytes; else such a file is refused.

    Returns:
        Its content; None where there is no plain file of that name, it cannot be read, or it is too long.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (found.st_size > most and not tail):
            return None
        os.lseek(descriptor, max(0, found.st_size - most), os.SEEK_SET)
        return _read(descriptor, most)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _read(descriptor: int, most: int) -> bytes:
    content = b""
    while len(content) < most and (part := os.read(descriptor, min(most - len(content), 2**20))):
        content += part
    return content
