"""The files of an experiment, as they lie in a directory or in the archive that it came in; read, never unpacked."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

__all__ = ["Directory", "Tree", "Zip", "tree"]

_MOST = 100_000


class Tree(Protocol):
    """Files by their path, with `/` between its parts."""

    def sizes(self) -> Mapping[str, int]:
        """Give the files in order, with their sizes in bytes."""

    def open(self, name: str) -> IO[bytes]:
        """Open one, to be read and, where it is a directory's, to be sought in."""


def tree(path: Path) -> Tree:
    """Give the files of a directory, or those of an archive that was accepted by the intake before.

    Raises:
        OSError: There is neither.
        zipfile.BadZipFile: The file is no archive.

    """
    return Directory(path) if path.is_dir() else Zip(path)


class Directory:
    """The files below a directory; links and special files are left out, for nothing may lead outside."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def sizes(self) -> Mapping[str, int]:
        """Give the files in order, with their sizes in bytes."""
        return dict(sorted(self._walk()))

    def _walk(self) -> Iterator[tuple[str, int]]:
        for folder, folders, files in os.walk(self._root, onerror=_raise):
            folders.sort()
            for file in files:
                path = Path(folder, file)
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield path.relative_to(self._root).as_posix(), status.st_size

    def open(self, name: str) -> IO[bytes]:
        """Open one."""
        return os.fdopen(os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def _raise(error: OSError) -> None:
    """Let no directory that cannot be read pass for an empty one."""
    raise error


class Zip:
    """The files of an archive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with zipfile.ZipFile(path) as opened:
            self._sizes = {one.filename: one.file_size for one in opened.infolist()[:_MOST] if not one.is_dir()}

    def sizes(self) -> Mapping[str, int]:
        """Give the files in order, with their sizes in bytes."""
        return dict(sorted(self._sizes.items()))

    def open(self, name: str) -> IO[bytes]:
        """Open one."""
        with zipfile.ZipFile(self._path) as opened:
            return opened.open(name)
