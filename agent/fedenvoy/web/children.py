"""What the processes below this one use: an experiment's and its installer's, guards included."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

__all__ = ["Use", "descendants_use"]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@frozen
class Use:
    """What some processes use together."""

    processes: int = 0
    cpu: float = 0.0
    """Seconds of all that live, and of those that they have waited for."""
    resident: int = 0
    """Bytes; what several share counts for each."""


def descendants_use(root: int | None = None) -> Use:
    """Add up what the descendants of a process use; a guard takes in what leaves its parent, so that none is missed.

    Args:
        root: Process id; None: this process.

    """
    children: dict[int, list[tuple[int, float, int]]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            # The command stands in parentheses and may hold anything; the numbered fields of proc(5) follow.
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        cpu = sum(map(int, fields[11:15])) / _TICKS
        children.setdefault(int(fields[1]), []).append((int(entry.name), cpu, int(fields[21]) * _PAGE))
    waiting, found = [os.getpid() if root is None else root], []
    while waiting:
        below = children.pop(waiting.pop(), [])
        found += below
        waiting += [pid for pid, _, _ in below]
    return Use(len(found), sum(cpu for _, cpu, _ in found), sum(resident for _, _, resident in found))
