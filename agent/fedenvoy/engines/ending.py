"""How a child ended, as its guard says it: the words on the line, and what they mean.

Knows the guard's format (`engines/child/watching.py`) and nothing of the child.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

__all__ = ["Ending", "Said", "parse"]

_STATUS = re.compile(r"(?:exit|signal) [0-9]{1,3}|")
_LIMITS = frozenset({"memory", "processes", "workspace", "disk"})


@frozen
class Said:
    """The guard's last words."""

    status: str = ""
    """`exit N` or `signal N`; empty where it had none left to say."""
    peak: int = 0
    """Bytes of memory that the experiment's processes used at most, as far as was seen; 0: not known."""
    limit: str = ""
    """What was passed, for which the guard ended it: `memory`, `processes`, `workspace`, or `disk`."""
    starved: bool = False
    """Whether the kernel killed something for want of memory meanwhile."""
    began: bool = False
    """Whether the program's own first code ran."""
    fault: str = ""
    """Why there was no program at all: `start TEXT`, or `isolation TEXT`."""


@frozen
class Ending:
    """How a child ended."""

    status: str
    """`exit N` or `signal N`."""
    result: Mapping[str, Any] | None
    """What it wrote; None where it wrote nothing that can be read."""
    tail: str
    """The last lines it printed."""
    timed_out: bool = False
    """Whether it was ended because its time was up."""
    began: bool = True
    """Whether its own first code ran; False: the interpreter came to nothing."""
    peak: int = 0
    """As in `Said`."""
    limit: str = ""
    """As in `Said`."""
    starved: bool = False
    """As in `Said`."""


def parse(words: str) -> Said:
    """Read the guard's last words; what is none of them is nothing."""
    if words.startswith("fault "):
        return Said(fault=words.partition(" ")[2])
    status, *fields = words.split(";")
    if not _STATUS.fullmatch(status):
        return Said()
    found = dict(field.partition("=")[::2] for field in fields)
    peak, limit = found.get("peak", ""), found.get("limit", "")
    return Said(
        status=status,
        peak=int(peak) if peak.isascii() and peak.isdecimal() and len(peak) < 20 else 0,
        limit=limit if limit in _LIMITS else "",
        starved="starved" in found,
        began="began" in found,
    )
