"""Makes values of any origin fit the wire: text that is valid UTF-8 and bounded, numbers that fit their field.

A call must not fail, or a health check be lost, because of what a descriptor, a driver or an exception said.
"""

from __future__ import annotations

__all__ = ["MAX_REPORT_BYTES", "bounded", "clean", "device_index", "uint32", "uint64"]

MAX_REPORT_BYTES = 16 * 1024
"""The longest error description that is sent."""


def clean(text: object) -> str:
    """Give a text without what UTF-8 cannot hold (half of a surrogate pair); "?" stands in its place."""
    return str(text).encode("utf-8", errors="replace").decode("utf-8")


def bounded(text: str, limit: int = MAX_REPORT_BYTES) -> str:
    """Give a text of at most `limit` bytes of UTF-8, cut between characters.

    What is cut is the middle, and the cut is told: a traceback says in its first lines where and in its last what.
    """
    data = text.encode("utf-8", errors="replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    mark = f"\n[... {len(data) - limit} bytes or more left out ...]\n"
    room = limit - len(mark)
    head = data[: room // 4].decode("utf-8", errors="ignore")
    tail = data[-(room - room // 4) :].decode("utf-8", errors="ignore")
    return head + mark + tail


def device_index(device: int | str, position: int) -> int:
    """Give a GPU's number on the wire: its own where it has one; for a UUID, its position among those configured."""
    try:
        return uint64(int(device))
    except ValueError:
        return position


def uint32(value: int) -> int:
    """Give the nearest number that an unsigned field of 32 bits holds."""
    return min(max(0, int(value)), 2**32 - 1)


def uint64(value: int) -> int:
    """Give the nearest number that an unsigned field of 64 bits holds."""
    return min(max(0, int(value)), 2**64 - 1)
