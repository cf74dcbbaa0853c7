"""Compares a zip file's directory with the rest of the file: each byte must belong to exactly one thing.

That is one entry's header, content or descriptor, or the directory. So no entry hides from readers that begin at the
front, none overlaps another, and nothing lies before, between or behind them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from fedenvoy.workspace.zipdir import (
    ENCRYPTED,
    ONES32,
    OTHER_NAME,
    UTF8,
    Directory,
    Entry,
    ZipError,
    extra_fields,
    read_exactly,
    shown,
    wide_numbers,
)

__all__ = ["locate"]

_LOCAL, _DESCRIPTOR = b"PK\x03\x04", b"PK\x07\x08"
_LOCAL_FORM = struct.Struct("<4s5H3L2H")
_DESCRIPTORS = {12: "<0s3L", 16: "<4s3L", 20: "<0sL2Q", 24: "<4sL2Q"}
"""The forms of what may follow an entry's content: with or without a mark, with small or large sizes."""
_HAS_DESCRIPTOR = 0x8
_SAME_FLAGS = ENCRYPTED | _HAS_DESCRIPTOR | UTF8


def locate(file: int, directory: Directory, found: Iterable[Entry]) -> list[Entry]:
    """Compare entries with their own headers; give them with `start`, in the order in which they lie in the file.

    Raises:
        ZipError: An entry is another in its own header, entries overlap, or bytes belong to none.

    """
    ordered = [_compared(file, directory.start, entry) for entry in sorted(found, key=lambda entry: entry.offset)]
    behind, last = 0, None
    for entry in ordered:
        _check_between(file, last, behind, entry.offset, entry.name)
        behind, last = entry.start + entry.packed, entry
    _check_between(file, last, behind, directory.start, "the directory")
    return ordered


def _compared(file: int, limit: int, entry: Entry) -> Entry:
    name = shown(entry.name)
    if entry.offset + _LOCAL_FORM.size > limit:
        raise ZipError(f"{name} begins behind the end of the content")
    header = _LOCAL_FORM.unpack(read_exactly(file, entry.offset, _LOCAL_FORM.size))
    mark, _, flags, method, _, _, crc, packed, size, length, extra_length = header
    if mark != _LOCAL:
        raise ZipError(f"{name} has no header of its own")
    start = entry.offset + _LOCAL_FORM.size + length + extra_length
    if start + entry.packed > limit:
        raise ZipError(f"{name} reaches beyond the end of the content")
    rest = read_exactly(file, entry.offset + _LOCAL_FORM.size, length + extra_length)
    raw = entry.name.encode()
    if rest[:length] != raw:
        raise ZipError(f"{name} has another name in its own header: {shown(rest[:length])}")
    more = extra_fields(rest[length:], entry.name)
    size, packed = wide_numbers(more, ((size, ONES32), (packed, ONES32)), entry.name)
    same = (flags & _SAME_FLAGS, method) == (entry.flags & _SAME_FLAGS, entry.method)
    for here, there in ((crc, entry.crc), (packed, entry.packed), (size, entry.size)):
        same = same and (here == there or bool(flags & _HAS_DESCRIPTOR and here == 0))
    if not same or more.get(OTHER_NAME, b"-----" + raw)[5:] != raw:
        raise ZipError(f"{name} is another in its own header than in the directory")
    return entry._replace(start=start)


def _check_between(file: int, entry: Entry | None, behind: int, following: int, name: str) -> None:
    """Check what lies between the content of an entry (None: the file's beginning) and what follows."""
    gap = following - behind
    if entry is None:
        if gap:
            raise ZipError(f"{gap} bytes at its beginning belong to no entry")
    elif gap < 0:
        raise ZipError(f"{shown(entry.name)} and {shown(name)} overlap")
    elif entry.flags & _HAS_DESCRIPTOR:
        if not _is_descriptor(file, behind, gap, entry):
            raise ZipError(f"{shown(entry.name)} is not followed by its sizes, as it says it is")
    elif gap:
        raise ZipError(f"{gap} bytes behind {shown(entry.name)} belong to no entry")


def _is_descriptor(file: int, at: int, gap: int, entry: Entry) -> bool:
    if gap not in _DESCRIPTORS:
        return False
    mark, *told = struct.unpack(_DESCRIPTORS[gap], read_exactly(file, at, gap))
    return mark in {b"", _DESCRIPTOR} and told == [entry.crc, entry.packed, entry.size]
