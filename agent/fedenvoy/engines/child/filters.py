"""The kernel's calls that an experiment may not make: those that would lead around the walls the other modules build.

A namespace does not hold what is addressed past it: a virtual machine's sockets to its host, the keys of a user. And
in a user namespace of its own a process has every capability, which is the part of a kernel where most holes were.

Standard library only.
"""

from __future__ import annotations

import ctypes
import errno

from fedenvoy.engines.child.syscalls import ARCHITECTURE, NUMBERS, syscall

__all__ = ["restrict"]

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FOREIGN = 0x40000000
"""Numbers from here on are another table of calls (x32) on x86_64."""
_FAMILIES = (1, 2, 10, 16)
"""Sockets may be of: unix, IPv4, IPv6, and netlink, by which the C library asks for this machine's addresses."""
_NEW_USER = 0x10000000
_DENIED = ("add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd")
_MISSING = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Said not to exist, so that programs do without: what these do cannot be looked at here."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _ARCH, _FIRST = 0, 4, 16
"""Where in the kernel's description of a call these stand; of the first argument, the lower half."""
_SET_FILTER, _NO_SLOWER = 1, 4


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.POINTER(_Instruction)))


def restrict() -> bool:
    """Deny these calls to this process and its descendants, for good; needs no_new_privs.

    Returns:
        Whether that was done: False on a machine whose calls are not known here.

    Raises:
        OSError: The kernel refuses.

    """
    if ARCHITECTURE not in _AUDIT:
        return False
    lines = program()
    array = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    syscall("seccomp", _SET_FILTER, _NO_SLOWER, ctypes.byref(_Program(len(lines), array)))
    return True


def program() -> list[tuple[int, int, int, int]]:
    """Give the filter; every jump leads over one line or a few, so that it can be read from top to bottom."""
    lines = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, _AUDIT[ARCHITECTURE]), refuse(errno.EPERM), (_LOAD, 0, 0, _NUMBER)]
    if ARCHITECTURE == "x86_64":
        lines += [(_AT_LEAST, 0, 1, _FOREIGN), refuse(errno.ENOSYS)]
    for name in _DENIED:
        lines += [(_EQUAL, 0, 1, NUMBERS[name]), refuse(errno.EPERM)]
    for name in _MISSING:
        lines += [(_EQUAL, 0, 1, NUMBERS[name]), refuse(errno.ENOSYS)]
    for name in ("clone", "unshare"):
        check = [(_LOAD, 0, 0, _FIRST), (_ANY_OF, 0, 1, _NEW_USER), refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
        lines += [(_EQUAL, 0, len(check), NUMBERS[name]), *check]
    check = [(_LOAD, 0, 0, _FIRST)]
    for family in _FAMILIES:
        check += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    check.append(refuse(errno.EAFNOSUPPORT))
    lines += [(_EQUAL, 0, len(check), NUMBERS["socket"]), *check]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return lines


def refuse(number: int) -> tuple[int, int, int, int]:
    """Give the line that ends a call with an error."""
    return (_RETURN, 0, 0, _ERROR | number)
