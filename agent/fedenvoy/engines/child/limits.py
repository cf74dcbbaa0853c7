"""What the kernel holds an experiment to, set in its own process before any of its code runs.

Everything set here is inherited by whatever the experiment starts, and cannot be raised again without privileges. What
no such limit covers (the sum over processes, the bytes of a directory) the guard looks at: see `watching.py`.

Standard library only; Python 3.8 and later.
"""

from __future__ import annotations

import contextlib
import os
import resource

TYPE_CHECKING = False  # `typing` takes as long to load as all the rest here
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["apply"]

NO_CORE = 1
"""The limit that keeps memory out of every file: with 0, the kernel still hands a dump to a program that collects them.
One byte is too little for a file, and the kernel takes it as the sign that no collector is wanted either."""


def apply(limits: dict[str, int], groups: Sequence[str] = ()) -> None:
    """Hold this process, and all that it will start, to `limits`.

    Args:
        limits: Bytes of `memory` and `workspace`, numbers of `open_files` and `processes`, and `nice`; 0 or missing:
            no limit. Others are not this function's.
        groups: The control groups to live in; where there are any, they bound memory and processes.

    Raises:
        OSError: A control group cannot be entered.

    """
    for group in groups:
        with open(f"{group}/cgroup.procs", "w", encoding="ascii") as members:
            members.write("0")
    os.umask(0o077)
    lower(resource.RLIMIT_CORE, NO_CORE)
    lower(resource.RLIMIT_NOFILE, limits.get("open_files", 0))
    lower(resource.RLIMIT_FSIZE, limits.get("workspace", 0))  # no file is larger than all of them may be
    if not groups:
        # Not RLIMIT_AS: CUDA reserves addresses for all memory of machine and devices without ever using most of them.
        # RLIMIT_DATA counts what was made writable: the heap, anonymous mappings, the stacks of threads.
        lower(resource.RLIMIT_DATA, limits.get("memory", 0))
        if limits.get("processes") and os.getuid() != 0:  # the kernel lets root fork whatever the limit is
            # Twice: the guard, which counts exactly and can say why, comes first; this one stops what is faster.
            lower(resource.RLIMIT_NPROC, 2 * limits["processes"] + tasks_of(os.getuid()))
    if limits.get("nice"):
        os.nice(limits["nice"])


def lower(what: int, value: int) -> None:
    """Set both the soft and the hard limit, never above the present hard one."""
    hard = resource.getrlimit(what)[1]
    if value > 0:
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(OSError, ValueError):  # a value beyond what the system knows
            resource.setrlimit(what, (value, value))


def tasks_of(uid: int) -> int:
    """Count the processes and threads of a user: the kernel's limit is on all of them, whoever started them."""
    found = 0
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                place = f"/proc/{entry}"
                if os.stat(place).st_uid == uid:
                    found += len(os.listdir(f"{place}/task"))
    return found
