"""Reads the directory of a zip file so strictly that every reader of it sees the same files, or it is refused.

It knows the format and nothing of what an experiment may be. `ziplayout` goes on where this ends: it compares what the
directory says with the rest of the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

__all__ = ["DEFLATED", "STORED", "Directory", "Entry", "ZipError", "entries", "find_directory", "shown"]

STORED, DEFLATED = 0, 8
"""The methods of packing that are read."""

_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL = b"PK\x01\x02"
_END_FORM = struct.Struct("<4s4H2LH")
_END64_FORM = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_FORM = struct.Struct("<4sLQL")
_CENTRAL_FORM = struct.Struct("<4s4B4H3L5H2L")
ENCRYPTED = 0x1 | 0x40 | 0x2000
"""The flag bits of the kinds of encryption."""
UTF8 = 0x800
"""The flag bit of a name in UTF-8."""
OTHER_NAME = 0x7075
"""The extra field that gives a name once more, behind five other bytes."""
ONES32 = 0xFFFFFFFF
"""What stands for a number that is too large for its place."""
_ZIP64, _ONES16 = 0x0001, 0xFFFF
_NEWEST_VERSION = 63
_BUFFER = 2**18
_LONGEST_SHOWN = 100


class ZipError(ValueError):
    """The file is no zip file that can be read in one way only; its text is one sentence."""


class Entry(NamedTuple):
    """One file or directory of a zip file.

    Attributes:
        name: As it stands there, with its slashes.
        method: How it is packed: `STORED` or `DEFLATED`.
        flags: Its flag bits.
        crc: CRC-32 of the content.
        packed: Bytes in the zip file.
        size: Bytes of the content.
        mode: Type and permissions as Unix has them; 0 where the writer gave none.
        offset: Where its local header begins.
        start: Where its packed content begins.

    """

    name: str
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int
    start: int

    @property
    def is_directory(self) -> bool:
        """Whether its name says that it is one."""
        return self.name.endswith("/")


class Directory(NamedTuple):
    """Where the directory of a zip file lies, and how many entries it says it holds."""

    start: int
    end: int
    number: int


def shown(name: str | bytes) -> str:
    """Give a name for a sentence: escaped, and cut where it is long."""
    return repr(name) if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]!r}..."


def find_directory(file: int, length: int) -> Directory:
    """Find the directory by the record at the very end.

    Args:
        file: Descriptor of the file.
        length: Its size in bytes.

    Raises:
        ZipError: There is no such record, there are two, or what it says is not so.

    """
    at = _find_end(file, length)
    _, disk, first_disk, here, count, size, start, _ = _END_FORM.unpack(read_exactly(file, at, _END_FORM.size))
    end = at
    located = read_exactly(file, at - _LOCATOR_FORM.size, _LOCATOR_FORM.size) if at >= _LOCATOR_FORM.size else b""
    if located.startswith(_LOCATOR):
        end, told = _read_end64(file, at, located)
        for small, large, ones in zip(
            (disk, first_disk, here, count, size, start), told, (_ONES16,) * 4 + (ONES32,) * 2, strict=True
        ):
            if small not in {large, ones}:
                raise ZipError("its two end records differ")
        disk, first_disk, here, count, size, start = told
    if disk or first_disk or here != count:
        raise ZipError("it is one part of several")
    if start + size != end:
        raise ZipError("its directory is not where it says")
    return Directory(start, end, count)


def _find_end(file: int, length: int) -> int:
    """Give the place of the one record that ends the file; a comment may follow within it, but no other such record."""
    begin = max(0, length - _END_FORM.size - 2**16)
    tail = read_exactly(file, begin, length - begin)
    found = tail.rfind(_END)
    while found >= 0:
        record = tail[found : found + _END_FORM.size]
        if len(record) == _END_FORM.size and found + len(record) + _END_FORM.unpack(record)[-1] == len(tail):
            if _END in tail[found + 1 :]:
                break
            return begin + found
        found = tail.rfind(_END, 0, found)
    raise ZipError("it ends neither with a directory nor in any other known way" if found < 0 else "it has two ends")


def _read_end64(file: int, at: int, located: bytes) -> tuple[int, tuple[int, ...]]:
    _, disk, where, disks = _LOCATOR_FORM.unpack(located)
    if disk or disks > 1 or where + _END64_FORM.size != at - _LOCATOR_FORM.size:
        raise ZipError("its large end record is not where it says")
    mark, size, _, _, *told = _END64_FORM.unpack(read_exactly(file, where, _END64_FORM.size))
    if mark != _END64 or size != _END64_FORM.size - 12:
        raise ZipError("its large end record is damaged")
    return where, tuple(told)


def entries(file: int, directory: Directory) -> Iterator[Entry]:
    """Give the entries one by one, in the directory's order; each is compared with its own header in the file.

    Nothing is read ahead but a buffer, so that a caller who stops at a limit has spent no more memory than that.

    Raises:
        ZipError: An entry is damaged, is written in two ways, or there are more or fewer than the directory says.

    """
    at, number = directory.start, 0
    buffer, base = b"", at

    def take(size: int) -> bytes:
        nonlocal buffer, base, at
        if at + size > directory.end:
            raise ZipError("its directory is cut off")
        if at + size > base + len(buffer):
            buffer, base = read_exactly(file, at, min(max(_BUFFER, size), directory.end - at)), at
        at += size
        return buffer[at - size - base : at - base]

    while at < directory.end:
        fields = _CENTRAL_FORM.unpack(take(_CENTRAL_FORM.size))
        name, extra, _comment = take(fields[12]), take(fields[13]), take(fields[14])
        yield _entry(fields, name, extra)
        number += 1
    if number != directory.number:
        raise ZipError(f"its directory holds {number} entries and says {directory.number}")


def _entry(fields: tuple[Any, ...], raw: bytes, extra: bytes) -> Entry:
    """Make an entry of its record in the directory."""
    mark, _, _, version, _, flags, method, _, _, crc, packed, size, _, _, _, disk, _, attributes, offset = fields
    if mark != _CENTRAL:
        raise ZipError("its directory is damaged")
    name = _name(raw, flags)
    if version > _NEWEST_VERSION:
        raise ZipError(f"{shown(name)} needs a newer reader")
    more = extra_fields(extra, name)
    large = ((size, ONES32), (packed, ONES32), (offset, ONES32), (disk, _ONES16))
    size, packed, offset, disk = wide_numbers(more, large, name)
    if disk:
        raise ZipError("it is one part of several")
    if more.get(OTHER_NAME, b"-----" + raw)[5:] != raw:
        raise ZipError(f"it names {shown(name)} in two ways")
    return Entry(name, method, flags, crc, packed, size, attributes >> 16, offset, 0)


def _name(raw: bytes, flags: int) -> str:
    """Give a name; without the flag that says UTF-8 it must be ASCII, for the rest readers guess differently."""
    try:
        return raw.decode("utf-8" if flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        encoding = "UTF-8, which it says it is" if flags & UTF8 else "ASCII, and does not say what it is"
        raise ZipError(f"the name {shown(raw)} is not {encoding}") from None


def extra_fields(data: bytes, name: str) -> dict[int, bytes]:
    """Give the extra fields by their numbers; the few bytes that some writers pad with are none."""
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        kind, size = struct.unpack_from("<2H", data)
        if 4 + size > len(data) or (kind in found and kind in {_ZIP64, OTHER_NAME}):
            raise ZipError(f"the extra fields of {shown(name)} are damaged")
        found[kind], data = data[4 : 4 + size], data[4 + size :]
    return found


def wide_numbers(more: dict[int, bytes], values: Iterable[tuple[int, int]], name: str) -> tuple[int, ...]:
    """Give numbers; each that is all ones stands, in this order, in the field for large ones."""
    data, wide = more.get(_ZIP64, b""), []
    for value, ones in values:
        if value == ones and _ZIP64 in more:
            form = "<Q" if ones == ONES32 else "<L"
            if len(data) < struct.calcsize(form):
                raise ZipError(f"the sizes of {shown(name)} are damaged")
            value = struct.unpack_from(form, data)[0]  # noqa: PLW2901 - the same number, where it really stands
            data = data[struct.calcsize(form) :]
        wide.append(value)
    return tuple(wide)


def read_exactly(file: int, at: int, size: int) -> bytes:
    """Give exactly `size` bytes."""
    data = os.pread(file, size, at)
    if len(data) != size:
        raise ZipError("it is shorter than it says")
    return data
