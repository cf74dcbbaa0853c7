"""Finds the pickles of an archive, wherever they lie: by their content, and by their name where the content is no help.

Looked into are files, the members of zip files (as PyTorch writes them), arrays of objects as numpy writes them, and
parts of pickles that are pickles themselves. Nothing is loaded.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from fedenvoy.review.budget import Budget, Spent
from fedenvoy.review.following import Followed, follow
from fedenvoy.review.shadow import CodeFound, Inside

__all__ = ["SUFFIXES", "PickleFound", "look"]

SUFFIXES = frozenset({".ckpt", ".dill", ".joblib", ".p", ".pickle", ".pk", ".pkl", ".pt", ".pth"})
"""Files that are pickles by their name."""

_DEEPEST = 4
_IN_A_ROW = 64
_PER_PLACE = 1_000
_DIRECTORY = 4 * 2**20
_MEMBERS = 10_000
_MEMBER = 64 * 2**20
_UNPACKED = 256 * 2**20
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_NAME = re.compile(r"\(computed import\)|[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}


@frozen
class PickleFound:
    """A pickle, and what loading it would do."""

    place: str
    """The file, and where in it."""
    protocol: int = 0
    size: int = 0
    imports: tuple[str, ...] = ()
    """Everything that it imports while it is loaded, as `module.name`."""
    calls: tuple[tuple[str, int], ...] = ()
    """What it calls while it is loaded, and how often."""
    code: tuple[CodeFound, ...] = ()
    """Code that it carries."""
    flags: tuple[str, ...] = ()
    """What to look at twice in that which it imports and calls."""
    code_flags: tuple[str, ...] = ()
    """What to look at twice in that which its code names."""
    problem: str = ""
    """Why not all of it was seen; empty when all was."""


def look(raw: IO[bytes], size: int, place: str, budget: Budget, *, named: bool) -> tuple[PickleFound, ...]:
    """Give the pickles in a file.

    Args:
        raw: The file, which can seek.
        size: Its bytes.
        place: How it is called in the findings.
        budget: What this may cost.
        named: Whether something says that it is a pickle: then one is found, even where none can be read.

    """
    search = _Search(budget)
    search.look(raw, size, place, named=named)
    return tuple(search.found)


class _Search:
    def __init__(self, budget: Budget) -> None:
        self.found: list[PickleFound] = []
        self._budget = budget
        self._depth = 0
        self._unpacked = 0

    def look(self, raw: IO[bytes], size: int, place: str, *, named: bool) -> None:
        head = raw.read(8)
        raw.seek(0)
        if head.startswith(b"PK\x03\x04"):
            self._members(raw, place)
            named = False
        elif head.startswith(b"\x93NUMPY"):
            self._array(raw, size, place)
            named = False
        packed = next((name for magic, name in _PACKED.items() if head.startswith(magic)), "")
        # Whatever else a file is, it may be a pickle as well, for some begin with bytes that are opcodes.
        raw.seek(0)
        self._row(raw, size, place, named=named and not packed)
        if packed and named:
            self._add(PickleFound(place, problem=f"is packed by {packed}: not looked into"))

    def _add(self, found: PickleFound) -> None:
        if len(self.found) == _PER_PLACE:
            self.found.append(PickleFound(found.place, problem=f"more than {_PER_PLACE} pickles: the rest is not told"))
        elif len(self.found) < _PER_PLACE:
            self.found.append(found)

    def _row(self, raw: IO[bytes], size: int, place: str, *, named: bool) -> None:
        """Follow pickles that stand one behind the other, as several calls of `dump` write them."""
        for number in range(_IN_A_ROW):
            start = raw.tell()
            where = f"{place}, byte {start}" if number else place
            before = len(self.found)
            followed = follow(raw, size, self._budget, self._inside_of(where))
            if not self._counts(raw, start, followed, named=named and number == 0):
                del self.found[before:]
                return
            self.found.insert(before, _told(where, followed))
            if followed.problem or raw.tell() >= size:
                return
        self._add(PickleFound(place, problem=f"more than {_IN_A_ROW} pickles in a row: the rest is not looked at"))

    def _inside_of(self, place: str) -> Inside:
        return lambda position, data: self._deeper(data, f"{place}, byte {position}", named=False)

    @staticmethod
    def _counts(raw: IO[bytes], start: int, followed: Followed, *, named: bool) -> bool:
        """Whether what was followed is a pickle, and not text or numbers that merely begin like one."""
        if named or followed.limited:
            return True
        end = raw.tell()
        raw.seek(start)
        head = raw.read(2)
        raw.seek(end)
        if len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
            return not followed.problem or bool(followed.imports) or followed.size > 16
        return followed.acts and all(_NAME.fullmatch(name) for name in followed.imports)

    def _array(self, raw: IO[bytes], size: int, place: str) -> None:
        """Look behind the header of numpy's format: an array of objects is a pickle."""
        head = raw.read(12)
        short = head[6:7] == b"\x01"
        need = 10 if short else 12
        if len(head) < need:
            return
        (length,) = struct.unpack("<H" if short else "<I", head[8:need])
        if length > 2**16:
            return
        raw.seek(need)
        if b"O" in raw.read(length):
            self._row(raw, size, place, named=True)

    def _members(self, raw: IO[bytes], place: str) -> None:
        try:
            with zipfile.ZipFile(_Guard(raw)) as opened:
                entries = opened.infolist()
                if len(entries) > _MEMBERS:
                    raise Spent(f"it has more than {_MEMBERS} members")
                for entry in entries:
                    self._member(opened, entry, f"{place}: {entry.filename}")
        except Spent as spent:
            self._add(PickleFound(place, problem=f"not looked into: {spent}"))
        except Exception as error:  # noqa: BLE001 - what a damaged zip raises is of many kinds
            self._add(PickleFound(place, problem=f"is no whole zip file: {_said(error)}"))

    def _member(self, opened: zipfile.ZipFile, entry: zipfile.ZipInfo, place: str) -> None:
        self._budget.check()
        named = Path(entry.filename).suffix.lower() in SUFFIXES
        if entry.compress_type not in _METHODS:
            self._add(PickleFound(place, problem="is packed by a method other than deflate: not looked into"))
            return
        try:
            with opened.open(entry) as packed:
                data = packed.read(8)
                if not (named or _may_hold(data)):
                    return
                data += packed.read(max(0, min(_MEMBER, _UNPACKED - self._unpacked) - len(data)))
                whole = not packed.read(1)
        except Exception as error:  # noqa: BLE001 - what a damaged zip raises is of many kinds
            self._add(PickleFound(place, problem=f"cannot be unpacked: {_said(error)}"))
            return
        self._unpacked += len(data)
        if not whole and (named or data[0] == 0x80 or self._unpacked >= _UNPACKED):
            self._add(PickleFound(place, size=entry.file_size, problem="too large to be looked into wholly"))
        self._deeper(data, place, named=named)

    def _deeper(self, data: bytes, place: str, *, named: bool) -> None:
        """Look at what lies in another pickle or zip file."""
        if self._depth >= _DEEPEST:
            if named or data[0] == 0x80:
                self._add(PickleFound(place, size=len(data), problem="lies too deep in others: not looked into"))
            return
        self._depth += 1
        try:
            self.look(io.BytesIO(data), len(data), place, named=named)
        finally:
            self._depth -= 1


def _may_hold(head: bytes) -> bool:
    """Whether a zip's member is worth unpacking: numbers, which are most of a model's bytes, are passed over."""
    return head[:1] in {b"\x80", b"c", b"(", b"i", b"}", b"]", b"l", b"d"} or head.startswith(
        (b"PK\x03\x04", b"\x93NUMPY")
    )


def _told(place: str, followed: Followed) -> PickleFound:
    return PickleFound(
        place,
        **{name: getattr(followed, name) for name in ("protocol", "size", "imports", "calls", "code")},
        flags=followed.flags,
        code_flags=followed.code_flags,
        problem=followed.problem,
    )


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class _Guard:
    """A file that keeps `zipfile` from reading a directory that would fill the memory."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(_DIRECTORY + 1 if size < 0 else min(size, _DIRECTORY + 1))
        if len(data) > _DIRECTORY:
            raise Spent("its directory is larger than what is looked at")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
