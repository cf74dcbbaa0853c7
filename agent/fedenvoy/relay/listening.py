"""The socket that an experiment connects to: for one user alone from its first moment on, and however long its path."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

__all__ = ["listening"]

_ADDRESS_LIMIT = 107
"""The most bytes in the path of a unix socket, on Linux."""
_WAITING = 128
"""Connections that wait to be taken; where more come, the system refuses them at once."""


def listening(path: Path, owner: tuple[int, int] | None) -> socket.socket:
    """Listen at a path; what is there is replaced.

    Args:
        path: In an existing directory.
        owner: User and group that may connect, besides root; None: this process's user.

    Raises:
        OSError: It cannot be made.

    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        os.fchmod(listener.fileno(), 0o600)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        _bind(listener, path)
        path.chmod(0o600)
        if owner is not None:
            os.chown(path, *owner)
        listener.listen(_WAITING)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind to a path; one that an address cannot hold is entered through a descriptor of its directory."""
    if len(os.fsencode(path)) <= _ADDRESS_LIMIT:
        listener.bind(str(path))
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{descriptor}/{path.name}")
    finally:
        os.close(descriptor)
