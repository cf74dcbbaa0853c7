"""Takes every privilege from this process, so that no way leads back to one.

Standard library only.
"""

from __future__ import annotations

import ctypes
import os

from fedenvoy.engines.child.syscalls import checked, libc, prctl

__all__ = ["give_up", "keep_to_itself", "tie"]

_SET_DEATH_SIGNAL = 1
_SET_DUMPABLE = 4
_DROP_BOUND = 24
_SET_SECUREBITS = 28
_NO_NEW_PRIVILEGES = 38
_AMBIENT, _CLEAR_ALL = 47, 4
_ROOT_IS_NOBODY = 0xC3
"""Being root brings no capability when a program is run, and none is handed on; neither can be undone."""
_VERSION_3 = 0x20080522
_LAST = 63


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def become(uid: int | None, gid: int | None) -> None:
    """Become another user, with no other groups; needs root. None: stay who we are."""
    if gid is not None:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
    if uid is not None:
        os.setresuid(uid, uid, uid)


def give_up(uid: int | None = None, gid: int | None = None) -> None:
    """Give up all capabilities, for this process and for whatever it will run, and become another user on the way.

    Raises:
        OSError: The kernel refuses; nothing may be run then.

    """
    for capability in range(_LAST + 1):
        try:
            prctl(_DROP_BOUND, capability)
        except OSError:  # noqa: PERF203 - the first one that the kernel does not know
            break
    prctl(_SET_SECUREBITS, _ROOT_IS_NOBODY)
    become(uid, gid)
    prctl(_AMBIENT, _CLEAR_ALL)
    header, none = _Header(_VERSION_3, 0), (_Sets * 2)()
    checked("capset", int(libc.capset(ctypes.byref(header), none)))
    prctl(_NO_NEW_PRIVILEGES, 1)


def tie(number: int) -> None:
    """Have a signal sent to this process when its parent ends."""
    prctl(_SET_DEATH_SIGNAL, number)


def keep_to_itself() -> None:
    """Let no process look into this one's memory, whoever's it is."""
    prctl(_SET_DUMPABLE, 0)
