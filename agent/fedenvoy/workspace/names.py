"""Judges the names in an archive: which paths they mean, and whether every file system and reader means the same.

A name is refused, never repaired.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from fedenvoy.workspace.refusals import ArchiveError
from fedenvoy.workspace.zipdir import shown

if TYPE_CHECKING:
    from fedenvoy.config import ArchiveSettings

__all__ = ["Names"]

_LONGEST_PART = 255
"""Bytes that Linux's file systems take for one name."""
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Signs that let a name be read in another order than it is written in."""


class Names:
    """The paths of one archive so far.

    Args:
        limits: How long and how deep a path may be.

    """

    def __init__(self, limits: ArchiveSettings) -> None:
        self._limits = limits
        self._listed: dict[str, bool] = {}
        """Paths of entries, and whether each is a directory."""
        self._spellings: dict[str, str] = {}
        """Paths, those of directories that are only implied included, by what a tolerant file system compares."""

    def add(self, name: str) -> str:
        """Give the path that a name means, parts joined by single slashes; empty for the archive's own root.

        Raises:
            ArchiveError: It leaves the archive, is no fit path, or clashes with an earlier one.

        """
        parts = self._parts(name)
        path = "/".join(parts)
        if not path:
            return path
        is_directory = name.endswith("/")
        if path in self._listed:
            raise ArchiveError(f"the archive holds {shown(name)} twice")
        if not is_directory and self._spellings.get(_folded(path)) == path:
            raise ArchiveError(f"the archive uses a file as a directory: {shown(path)}")
        self._listed[path] = is_directory
        self._add_spellings(path)
        return path

    def _parts(self, name: str) -> list[str]:
        if any(unicodedata.category(sign) in _CONTROLS or sign in _TURNS for sign in name):
            raise ArchiveError(f"the archive names a file with a control character: {shown(name)}")
        if name.startswith("/") or "\\" in name or name[1:2] == ":":
            raise ArchiveError(f"the archive names a file by an absolute path or a Windows path: {shown(name)}")
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise ArchiveError(f"the archive names a file outside its own directory: {shown(name)}")
        if not parts and not (name.startswith(".") and name.endswith("/")):
            raise ArchiveError(f"the archive holds a file without a name: {shown(name)}")
        self._judge_length(name, parts)
        return parts

    def _judge_length(self, name: str, parts: list[str]) -> None:
        limits = self._limits
        long = any(len(part.encode()) > _LONGEST_PART for part in parts if len(part) * 4 > _LONGEST_PART)
        if long:
            raise ArchiveError(
                f"the archive names a file by too long a path: a part of {shown(name)} has more than the "
                f"{_LONGEST_PART} bytes that Linux takes"
            )
        if limits.max_path and len(name.encode()) > limits.max_path:
            raise ArchiveError(
                f"the archive names a file by too long a path: {shown(name)} has {len(name.encode())} bytes; at most "
                f"{limits.max_path} are accepted (agent.archive.max_path)"
            )
        if limits.max_depth and len(parts) > limits.max_depth:
            raise ArchiveError(
                f"the archive names a file too deep: {shown(name)} has {len(parts)} parts; at most {limits.max_depth} "
                "are accepted (agent.archive.max_depth)"
            )

    def _add_spellings(self, path: str) -> None:
        """Note a path, and the directories above it until one that is known."""
        self._add_spelling(path)
        above = path.rpartition("/")[0]
        while above:
            if self._listed.get(above) is False:
                raise ArchiveError(f"the archive uses a file as a directory: {shown(above)}")
            if not self._add_spelling(above):
                return
            above = above.rpartition("/")[0]

    def _add_spelling(self, path: str) -> bool:
        """Note one path; tell whether it is new. What differs by form alone is one file on some disks."""
        before = len(self._spellings)
        known = self._spellings.setdefault(_folded(path), path)
        if known != path:
            raise ArchiveError(f"the archive spells one path in two ways: {shown(known)} and {shown(path)}")
        return len(self._spellings) > before


def _folded(path: str) -> str:
    """Give what is left of a path where neither case, nor the form of accents, nor unseen signs count."""
    if path.isascii():
        return path.lower()
    seen = "".join(sign for sign in path if unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", seen).casefold())
