"""The kernel's calls that Python has no name for. Knows numbers and structures, and nothing of what they are used for.

Standard library only.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["ARCHITECTURE", "NUMBERS", "libc", "prctl", "syscall"]

_ALIKE = {
    "open_tree": 428,
    "move_mount": 429,
    "mount_setattr": 442,
    "clone3": 435,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
}
"""Calls that are younger than the habit of giving them the same number everywhere."""
_OWN = {
    "x86_64": {
        "socket": 41,
        "clone": 56,
        "unshare": 272,
        "pivot_root": 155,
        "seccomp": 317,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "bpf": 321,
        "perf_event_open": 298,
        "userfaultfd": 323,
    },
    "aarch64": {
        "socket": 198,
        "clone": 220,
        "unshare": 97,
        "pivot_root": 41,
        "seccomp": 277,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "bpf": 280,
        "perf_event_open": 241,
        "userfaultfd": 282,
    },
}

ARCHITECTURE = os.uname().machine
NUMBERS = {**_ALIKE, **_OWN[ARCHITECTURE]} if ARCHITECTURE in _OWN else {}
"""The number of each call on this machine; empty where this is not a machine that is known here."""

libc = ctypes.CDLL(None, use_errno=True)


def syscall(name: str, *arguments: object) -> int:
    """Make a call that the C library need not know; bytes, integers and references to structures go as they are.

    Raises:
        OSError: The kernel refuses, or does not have it; its message begins with the name of the call.

    """
    if name not in NUMBERS:
        raise OSError(38, f"{name}: not known on {ARCHITECTURE}")
    plain = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return checked(name, int(libc.syscall(ctypes.c_long(NUMBERS[name]), *plain)))


def checked(name: str, answer: int) -> int:
    """Give an answer of the C library's; raise OSError where it is the sign of a refusal."""
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return answer


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    """Set a property of this process; raises OSError."""
    plain = (ctypes.c_ulong(value), ctypes.c_ulong(third), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return checked("prctl", int(libc.prctl(ctypes.c_int(option), *plain)))
