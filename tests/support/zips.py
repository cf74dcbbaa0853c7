"""Zip files of any shape: each field of each record can be set by hand, so that the file says what is not so."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STORED, DEFLATED = 0, 8
UTF8, DESCRIPTOR = 0x800, 0x8
PLAN_NAME, PLAN = b"plan/plan.yaml", b"engine: callable\ncallable:\n  entry: a:run\n"

Fields = Mapping[str, Any]


def deflated(content: bytes, level: int = 6) -> bytes:
    """Pack as zip files do."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@dataclass(frozen=True)
class Piece:
    """One entry.

    Attributes:
        name: As bytes, with its slashes.
        content: What it unpacks to.
        method: `STORED`, `DEFLATED` or any other number.
        flags: Its flag bits.
        mode: Type and permissions.
        descriptor: Length of the record behind its content: 0, 12, 16, 20 or 24.
        packed: Its bytes in the file; None: the content, packed.
        behind: Bytes that follow and belong to nothing.
        local: Fields of its own header that say something else.
        central: Fields of its record in the directory that say something else.

    """

    name: bytes = b"a.txt"
    content: bytes = b"some content\n"
    method: int = DEFLATED
    flags: int = UTF8
    mode: int = 0o100644
    descriptor: int = 0
    packed: bytes | None = None
    behind: bytes = b""
    local: Fields = field(default_factory=dict)
    central: Fields = field(default_factory=dict)


def zipped(
    pieces: Sequence[Piece],
    *,
    plan: bool = True,
    before: bytes = b"",
    between: bytes = b"",
    behind: bytes = b"",
    comment: bytes = b"",
    large: Fields | None = None,
    **end: Any,
) -> bytes:
    """Write a zip file.

    Args:
        pieces: Its entries, in the order of both the content and the directory.
        plan: Whether a plan comes first.
        before: Bytes at its beginning that no offset counts.
        between: Bytes between content and directory.
        behind: Bytes at its end.
        comment: Its comment.
        large: Whether it has the records for large files; fields of them that say something else.
        end: Fields of the last record that say something else.

    """
    pieces = [*([Piece(PLAN_NAME, PLAN)] if plan else []), *pieces]
    out, directory = bytearray(), bytearray()
    for piece in pieces:
        told = _told(piece, len(out))
        out += _local({**told, **_descriptor_hides(piece), **piece.local}) + told["content"]
        out += _descriptor(piece.descriptor, told) + piece.behind
        directory += _central({**told, **piece.central})
    out += between
    values = {"count": len(pieces), "size": len(directory), "start": len(out)}
    out += directory
    if large is not None:
        out += _large(len(out), {**values, **large})
        values = {"count": 0xFFFF, "size": 0xFFFFFFFF, "start": 0xFFFFFFFF}
    last = {"disk": 0, "first": 0, "here": end.get("count", values["count"]), **values, "length": len(comment), **end}
    order = ("disk", "first", "here", "count", "size", "start", "length")
    masks = (0xFFFF,) * 4 + (0xFFFFFFFF,) * 2 + (0xFFFF,)
    numbers = (last[name] & mask for name, mask in zip(order, masks, strict=True))
    out += struct.pack("<4s4H2LH", b"PK\x05\x06", *numbers) + comment
    return before + bytes(out) + behind


def _told(piece: Piece, offset: int) -> dict[str, Any]:
    content = piece.packed
    if content is None:
        content = deflated(piece.content) if piece.method == DEFLATED else piece.content
    return {
        "mark": None,
        "version": 20,
        "flags": piece.flags | (DESCRIPTOR if piece.descriptor else 0),
        "method": piece.method,
        "crc": zlib.crc32(piece.content),
        "packed": len(content),
        "size": len(piece.content),
        "name": piece.name,
        "extra": b"",
        "comment": b"",
        "disk": 0,
        "attributes": piece.mode << 16,
        "offset": offset,
        "content": content,
    }


def _descriptor_hides(piece: Piece) -> dict[str, int]:
    return {"crc": 0, "packed": 0, "size": 0} if piece.descriptor else {}


def _local(told: Any) -> bytes:
    values = [told[name] for name in ("version", "flags", "method")] + [0, 0x21]
    values += [told[name] for name in ("crc", "packed", "size")] + [len(told["name"]), len(told["extra"])]
    mark = told["mark"] or b"PK\x03\x04"
    return b"".join((struct.pack("<4s5H3L2H", mark, *values), told["name"], told["extra"]))


def _central(told: Any) -> bytes:
    values = [20, 3, told["version"], 0, told["flags"], told["method"], 0, 0x21, told["crc"], told["packed"]]
    values += [told["size"], len(told["name"]), len(told["extra"]), len(told["comment"]), told["disk"], 0]
    values += [told["attributes"], told["offset"]]
    mark = told["mark"] or b"PK\x01\x02"
    record = struct.pack("<4s4B4H3L5H2L", mark, *values)
    return b"".join((record, told["name"], told["extra"], told["comment"]))


def _descriptor(length: int, told: Fields) -> bytes:
    form = {0: "<0s", 12: "<0s3L", 16: "<4s3L", 20: "<0sL2Q", 24: "<4sL2Q"}[length]
    values = (told["crc"], told["packed"], told["size"]) if length else ()
    return struct.pack(form, b"PK\x07\x08", *values)


def _large(at: int, values: Fields) -> bytes:
    told = {"mark": b"PK\x06\x06", "length": 44, "here": values["count"], "where": at, "disks": 1, **values}
    record = struct.pack("<4sQ2H2L4Q", told["mark"], told["length"], 45, 45, 0, 0, *_counts(told))
    return record + struct.pack("<4sLQL", b"PK\x06\x07", 0, told["where"], told["disks"])


def _counts(told: Fields) -> tuple[int, int, int, int]:
    return told["here"], told["count"], told["size"], told["start"]


def large_field(*values: int) -> bytes:
    """Give the extra field that holds numbers too large for their places."""
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)
