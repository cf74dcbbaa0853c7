"""Unpacks an archive that may be hostile: its whole directory is judged before a byte is written.

What is wrong is refused with one sentence that names it, and the setting where one decides; nothing is skipped, renamed
or repaired.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from fedenvoy.workspace.names import Names
from fedenvoy.workspace.refusals import ArchiveError, storage_error
from fedenvoy.workspace.unpacking import write_files
from fedenvoy.workspace.zipdir import DEFLATED, ENCRYPTED, STORED, Entry, ZipError, entries, find_directory, shown
from fedenvoy.workspace.ziplayout import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fedenvoy.cancel import Cancel
    from fedenvoy.config import ArchiveSettings

__all__ = ["ArchiveError", "extract"]

_RATIO_FREE = 16 * 2**20
_EMPTY_DEFLATED = 2
"""Bytes that nothing at all takes when it is deflated."""


def extract(archive: Path, target: Path, limits: ArchiveSettings, cancel: Cancel | None = None) -> None:
    """Unpack `archive` into the existing, empty directory `target`.

    Files get mode 0600, or 0700 where the archive marks them executable; directories 0700.

    Raises:
        ArchiveError: With a sentence; `target` may then be half filled and is the caller's to remove.
        Cancelled: When `cancel` was cancelled meanwhile.

    """
    try:
        file = os.open(archive, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise ArchiveError(f"the archive cannot be read: {error.strerror or error}", "disk") from error
    try:
        _extract(file, target, limits, cancel)
    except ZipError as error:
        raise ArchiveError(f"the archive is not a sound zip file: {error}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ArchiveError(
                f"the archive holds too long a path for this disk: {shown(str(error.filename))}"
            ) from error
        raise storage_error(error, "the unpacked archive") from error
    finally:
        os.close(file)


def _extract(file: int, target: Path, limits: ArchiveSettings, cancel: Cancel | None) -> None:
    length = os.fstat(file).st_size
    directory = find_directory(file, length)
    found = locate(file, directory, _judged(entries(file, directory), length, limits))
    _look_for_room(target, found)
    top = str(target)
    made = {top}
    files: list[tuple[Entry, str]] = []
    for entry in found:
        path = f"{top}/{entry.name}"
        _make_directories(path.rpartition("/")[0], made)
        if not entry.is_directory:
            files.append((entry, path))
    write_files(file, files, cancel)


def _judged(found: Iterable[Entry], packed: int, limits: ArchiveSettings) -> Iterator[Entry]:
    """Give the entries on, or refuse the whole; no more are looked at than are accepted."""
    names, unpacked = Names(limits), 0
    for number, entry in enumerate(found, start=1):
        if limits.max_entries and number > limits.max_entries:
            raise ArchiveError(
                f"the archive holds more than {limits.max_entries} files and directories (agent.archive.max_entries)"
            )
        names.add(entry.name)
        _judge_kind(entry)
        unpacked += entry.size
        _judge_sizes(entry, unpacked, packed, limits)
        yield entry


def _judge_kind(entry: Entry) -> None:
    name, kind = shown(entry.name), stat.S_IFMT(entry.mode)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ArchiveError(f"the archive holds a link or a device: {name}; only files and directories may be")
    if entry.flags & ENCRYPTED:
        raise ArchiveError(f"the archive is encrypted: {name} needs a password")
    if entry.method not in {STORED, DEFLATED}:
        raise ArchiveError(f"{name} is packed by a method other than deflate (number {entry.method})")
    if kind and (kind == stat.S_IFDIR) != entry.is_directory:
        raise ArchiveError(f"the archive says of {name} both that it is a directory and that it is a file")
    if entry.is_directory and (entry.size or entry.crc or entry.packed > _EMPTY_DEFLATED):
        raise ArchiveError(f"the archive holds a directory with content of its own: {name}")


def _judge_sizes(entry: Entry, unpacked: int, packed: int, limits: ArchiveSettings) -> None:
    """Refuse an entry that is too large, or is the one with which the whole becomes too large."""
    name = shown(entry.name)
    if limits.max_file_bytes and entry.size > limits.max_file_bytes:
        raise ArchiveError(
            f"{name} unpacks to {entry.size} bytes; at most {limits.max_file_bytes} are accepted for one file "
            "(agent.archive.max_file_bytes)"
        )
    if limits.max_unpacked_bytes and unpacked > limits.max_unpacked_bytes:
        raise ArchiveError(
            f"the archive unpacks to {unpacked} bytes or more, up to {name}; at most {limits.max_unpacked_bytes} are "
            "accepted (agent.archive.max_unpacked_bytes)"
        )
    if limits.max_ratio and unpacked > _RATIO_FREE and unpacked > limits.max_ratio * packed:
        raise ArchiveError(
            f"the archive unpacks to more than {limits.max_ratio:g} times its size, up to {name} to {unpacked} bytes "
            "(agent.archive.max_ratio)"
        )


def _look_for_room(target: Path, found: Iterable[Entry]) -> None:
    """Refuse what would fill the disk, before it does; other programs may still fill it meanwhile."""
    disk = os.statvfs(target)
    needed = sum(-(-entry.size // disk.f_frsize) * disk.f_frsize for entry in found)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and needed > free:
        raise ArchiveError(
            f"the archive needs {needed} bytes when it is unpacked, and {free} are free on the disk of {target}; make "
            "room or move the state directory",
            "disk",
        )


def _make_directories(path: str, made: set[str]) -> None:
    """Make a directory and its missing parents, all 0700."""
    missing = []
    while path not in made:
        missing.append(path)
        made.add(path)
        path = path.rpartition("/")[0]
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # the same one by another spelling, such as "a/./b"
            os.mkdir(directory, 0o700)  # noqa: PTH102 - a hundred thousand paths are plain texts
