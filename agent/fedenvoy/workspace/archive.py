"""Unpacks an archive that may be hostile: its whole directory is judged before a byte is written.

What is wrong is refused with one sentence; nothing is skipped, renamed or repaired.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fedenvoy.errors import DISK_FULL, FedenvoyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedenvoy.cancel import Cancel
    from fedenvoy.config import ArchiveSettings

__all__ = ["ArchiveError", "extract", "storage_error"]

_ENTRY_MARK = b"PK\x01\x02"
_RATIO_FREE = 16 * 2**20
_DIRECTORY_BYTES_PER_ENTRY = 1024
_MIN_DIRECTORY_BYTES = 2**20
_LONGEST_PART = 255
_LONGEST_NAME = 2048
_COPY = 2**18
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_DAMAGE = (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError, OverflowError, ValueError)
_ENCRYPTED = 0x1 | 0x40 | 0x2000


class ArchiveError(FedenvoyError):
    """The archive cannot be used.

    Attributes:
        code: `archive` when the archive itself is at fault, `disk` when this machine is.

    """

    def __init__(self, message: str, code: str = "archive") -> None:
        super().__init__(message)
        self.code = code


def storage_error(error: OSError, what: str) -> ArchiveError:
    """Give the sentence for a disk that did not take `what`."""
    if error.errno in DISK_FULL:
        return ArchiveError(
            f"the disk is full: {what} could not be written; make room or move the state directory", "disk"
        )
    return ArchiveError(f"{what} could not be written: {error.strerror or error}", "disk")


def extract(archive: Path, target: Path, limits: ArchiveSettings, cancel: Cancel | None = None) -> None:
    """Unpack `archive` into the existing, empty directory `target`.

    Files get mode 0600, or 0700 where the archive marks them executable; directories 0700.

    Raises:
        ArchiveError: With a sentence; `target` may then be half filled and is the caller's to remove.
        Cancelled: When `cancel` was cancelled meanwhile.

    """
    try:
        with archive.open("rb") as raw:
            guarded = _DirectoryGuard(raw, limits.max_entries)
            with zipfile.ZipFile(guarded) as opened:
                guarded.end_guard()
                entries = _judge(opened.infolist(), archive.stat().st_size, limits)
                for parts, entry in entries.items():
                    if cancel is not None:
                        cancel.raise_if_cancelled()
                    _write(opened, entry, target.joinpath(*parts), cancel)
    except UnicodeError as error:
        raise ArchiveError("the archive names a file in a way that cannot be decoded") from error
    except _DAMAGE as error:
        raise ArchiveError(f"the archive is not a whole zip file: {str(error) or type(error).__name__}") from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a position before the start of the file
            raise ArchiveError("the archive is not a whole zip file: its directory is damaged") from error
        raise storage_error(error, "the unpacked archive") from error


class _DirectoryGuard:
    """The archive as a file, which keeps `zipfile` from reading a directory that would fill the memory."""

    def __init__(self, raw: IO[bytes], max_entries: int) -> None:
        self._raw = raw
        self._max_entries = max_entries
        self._guarding = max_entries > 0

    def end_guard(self) -> None:
        self._guarding = False

    def read(self, size: int = -1) -> bytes:
        if not self._guarding:
            return self._raw.read(size)
        if size > max(_MIN_DIRECTORY_BYTES, self._max_entries * _DIRECTORY_BYTES_PER_ENTRY):
            raise ArchiveError(f"the archive's directory is larger than {self._max_entries} entries can need")
        data = self._raw.read(size)
        if data.count(_ENTRY_MARK) > self._max_entries:
            raise ArchiveError(f"the archive holds more than {self._max_entries} files and directories")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _judge(
    entries: list[zipfile.ZipInfo], packed: int, limits: ArchiveSettings
) -> dict[tuple[str, ...], zipfile.ZipInfo]:
    """Give the entries by their path parts, or refuse the whole."""
    unpacked = sum(entry.file_size for entry in entries)
    if limits.max_unpacked_bytes and unpacked > limits.max_unpacked_bytes:
        raise ArchiveError(f"the archive unpacks to {unpacked} bytes; at most {limits.max_unpacked_bytes} are accepted")
    if limits.max_ratio and unpacked > _RATIO_FREE and unpacked > limits.max_ratio * packed:
        raise ArchiveError(f"the archive unpacks to more than {limits.max_ratio:g} times its size ({unpacked} bytes)")
    judged: dict[tuple[str, ...], zipfile.ZipInfo] = {}
    spellings: dict[tuple[str, ...], tuple[str, ...]] = {}
    for entry in entries:
        parts = _parts(entry)
        _judge_kind(entry)
        if not parts:
            continue  # "./", the archive's own root
        if parts in judged:
            raise ArchiveError(f"the archive holds {entry.filename!r} twice")
        judged[parts] = entry
        _judge_spelling(parts, spellings)
    _judge_parents(judged)
    return judged


def _parts(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """Give the parts of an entry's path below the target, or refuse it."""
    name = entry.orig_filename
    if any(unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} for sign in name):
        raise ArchiveError(f"the archive names a file with a control character: {name!r}")
    if name.startswith("/") or "\\" in name or name[1:2] == ":":
        raise ArchiveError(f"the archive names a file by an absolute path or a Windows path: {name!r}")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise ArchiveError(f"the archive names a file outside its own directory: {name!r}")
    encoded = [os.fsencode(part) for part in parts]
    if sum(map(len, encoded)) + len(encoded) > _LONGEST_NAME or any(len(part) > _LONGEST_PART for part in encoded):
        raise ArchiveError(f"the archive names a file by too long a path: {name[:60]!r}...")
    if not parts and not name.startswith("."):
        raise ArchiveError("the archive holds a file without a name")
    return parts


def _judge_kind(entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ArchiveError(
            f"the archive holds a link or a device: {entry.filename!r}; only files and directories may be"
        )
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"the archive is encrypted: {entry.filename!r} needs a password")
    if entry.compress_type not in _METHODS:
        raise ArchiveError(f"{entry.filename!r} is packed by a method other than deflate")
    if entry.is_dir() and entry.file_size:
        raise ArchiveError(f"the archive holds a directory with content of its own: {entry.filename!r}")


def _judge_spelling(parts: tuple[str, ...], spellings: dict[tuple[str, ...], tuple[str, ...]]) -> None:
    """Refuse two paths that differ by case or by Unicode form alone: they are one file on some disks."""
    for length in range(len(parts), 0, -1):
        path = parts[:length]
        known = spellings.setdefault(tuple(map(_folded, path)), path)
        if known != path:
            raise ArchiveError(f"the archive spells one path in two ways: {'/'.join(known)!r} and {'/'.join(path)!r}")


def _judge_parents(judged: dict[tuple[str, ...], zipfile.ZipInfo]) -> None:
    for parts in judged:
        for length in range(1, len(parts)):
            parent = judged.get(parts[:length])
            if parent is not None and not parent.is_dir():
                raise ArchiveError(f"the archive uses a file as a directory: {parent.filename!r}")


def _folded(part: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold())


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, cancel: Cancel | None) -> None:
    if entry.is_dir():
        _make_directory(path)
        return
    _make_directory(path.parent)
    mode = 0o700 if (entry.external_attr >> 16) & stat.S_IXUSR else 0o600
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as out, opened.open(entry) as packed:
        for chunk in _chunks(packed):
            if cancel is not None:
                cancel.raise_if_cancelled()
            out.write(chunk)
    if path.stat().st_size != entry.file_size:
        raise ArchiveError(f"{entry.filename!r} is shorter than the archive's directory says")


def _chunks(packed: IO[bytes]) -> Iterator[bytes]:
    while chunk := packed.read(_COPY):
        yield chunk


def _make_directory(path: Path) -> None:
    """Make a directory and its missing parents, all 0700 (`mkdir(parents=True)` gives parents the default mode)."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(mode=0o700)
