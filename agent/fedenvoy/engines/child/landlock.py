"""Landlock: what this process and its descendants may do with files, and whom they may signal, for good.

It stands behind the mounts (`mounts.py`) as a second wall: what they show read-only may not be written here either, and
nobody outside can be signalled or reached by an abstract socket, whatever namespaces they share.

Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import stat

from fedenvoy.engines.child.syscalls import syscall

TYPE_CHECKING = False  # `typing` takes as long to load as all the rest here
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LEAST", "restrict", "version"]

LEAST = 2
"""The version that is used at least: before it, no file could be moved from one directory to another."""

_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _DEVICE = 1 << 14, 1 << 15
_RIGHTS = {2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights there are for files, by version."""
_SCOPES = 0b11
"""Abstract unix sockets, and signals: since version 6."""
_READING = _EXECUTE | _READ | _LIST
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _DEVICE
_PATH_BENEATH = 1
_GIVE_VERSION = 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("place", ctypes.c_int32))


def version() -> int:
    """Give the version that this kernel offers; 0 where it has none, or it is turned off."""
    try:
        return syscall("landlock_create_ruleset", 0, 0, _GIVE_VERSION)
    except OSError:
        return 0


def restrict(write: Sequence[str], devices: Sequence[str] = ()) -> int:
    """Let this process read everything that it sees, and write only below `write`; give the version used, or 0.

    Needs no_new_privs. Where the kernel has no Landlock, or one that is too old, nothing is done.

    Args:
        write: Files and directories; what is missing is passed over.
        devices: Files and directories of devices, which may be read, written and spoken to.

    Raises:
        OSError: The kernel refuses.

    """
    offered = version()
    if offered < LEAST:
        return 0
    known = (1 << _RIGHTS.get(offered, 16)) - 1
    rules = _Ruleset(known, 0, _SCOPES if offered >= 6 else 0)
    size = 8 if offered < 4 else 16 if offered < 6 else 24
    ruleset = syscall("landlock_create_ruleset", ctypes.byref(rules), size, 0)
    try:
        _allow(ruleset, "/", _READING & known)
        for path in write:
            _allow(ruleset, path, known)
        for path in devices:
            _allow(ruleset, path, (_READING | _WRITE | _TRUNCATE | _DEVICE) & known)
        syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return offered


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        beneath = _Beneath(rights, place)
        syscall("landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(place)
