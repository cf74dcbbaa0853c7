"""The agents of one machine tell each other which GPUs their experiments use: a file lock per GPU.

Shared among agents that can bear each other, for themselves where a site wants that. The kernel gives a lock back when
its process ends, however it ends; the files stay and mean nothing by themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["DeviceLocks", "LockedError", "default_directory"]

_COMMON = Path("/run/lock")
_FOR_EVERYBODY = 0o1777
_READABLE = 0o644
_HOW = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""A link is not followed, and what is no file, a pipe for example, is not waited for."""


class LockedError(Exception):
    """A GPU cannot be had; the text says which, and who has it."""


def default_directory(own: Path) -> Path:
    """Give the directory that the agents of this machine share: below `/run/lock`, or `own` where that cannot be."""
    common = _COMMON / "fedenvoy"
    writable = os.access(common if common.is_dir() else _COMMON, os.W_OK | os.X_OK)
    return common if writable else own


class DeviceLocks:
    """Lock GPUs by name.

    Args:
        directory: Where the files lie; made when first needed.

    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def held(self, names: Sequence[tuple[str, bool]]) -> Iterator[None]:
        """Hold locks for the length of a block, all or none of them.

        Args:
            names: UUIDs or whatever names a GPU on this machine, each with whether nobody else may hold it.

        Raises:
            LockedError: Somebody else holds one of them in a way that this cannot share.
            OSError: The files cannot be used.

        """
        with contextlib.ExitStack() as stack:
            wanted = {name: any(alone for other, alone in names if other == name) for name, _alone in names}
            for name, alone in wanted.items():
                descriptor = self._open(name)
                stack.callback(os.close, descriptor)
                try:
                    fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                except BlockingIOError:
                    holders = _holders(descriptor)
                    raise LockedError(f"{name} is in use by {_people(holders)}") from None
            yield

    def others(self, names: Sequence[str]) -> str:
        """Say which of these GPUs other processes hold; empty when there are none, or nobody can know."""
        found = []
        for name in dict.fromkeys(names):
            try:
                descriptor = os.open(self._directory / _file(name), _HOW)
            except OSError:
                continue
            try:
                holders = [pid for pid in _holders(descriptor) if pid != os.getpid()]
            finally:
                os.close(descriptor)
            if holders:
                found.append(f"{name} by {_people(holders)}")
        return "; ".join(found)

    def _open(self, name: str) -> int:
        """Open a GPU's file, made if need be; a lock needs no right to write."""
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                self._directory.chmod(_FOR_EVERYBODY)
        path = self._directory / _file(name)
        try:
            descriptor = os.open(path, _HOW | os.O_CREAT | os.O_EXCL, _READABLE)
        except FileExistsError:
            descriptor = os.open(path, _HOW)
        else:
            os.fchmod(descriptor, _READABLE)  # whatever the umask
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(f"{path} is no file")
        return descriptor


def _file(name: str) -> str:
    return f"gpu-{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.lock"


def _people(holders: Sequence[int]) -> str:
    if not holders:
        return "another agent"
    return f"another agent ({', '.join(f'process {pid}' for pid in holders)})"


def _holders(descriptor: int) -> list[int]:
    """Give the processes that hold a lock on a file, as the kernel lists them."""
    inode = str(os.fstat(descriptor).st_ino)
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split()
        if "FLOCK" in fields and "->" not in fields and fields[5].rpartition(":")[2] == inode and int(fields[4]) > 0:
            found.append(int(fields[4]))
    return sorted(set(found))
