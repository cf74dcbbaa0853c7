"""Writes the entries of a checked zip file to disk, several at a time, and holds each to what its directory said.

zlib and the disk let go of Python's lock, so that threads help. Memory is a few buffers for each, whatever the sizes.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from fedenvoy.workspace.zipdir import STORED, Entry, ZipError, read_exactly, shown

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel

__all__ = ["write_files"]

_MOST_WORKERS = 4
_WORTH_A_THREAD = 2**20
"""Bytes to write for which one more thread is begun: below that it takes longer than it saves."""
_PACKED, _UNPACKED = 2**17, 2**18
"""Bytes of one buffer. Larger ones come from the system each time, and cost more than they save."""
_EXECUTABLE = 0o100


class _GivenUpError(Exception):
    """Another worker has failed."""


def write_files(file: int, files: Sequence[tuple[Entry, str]], cancel: Cancel | None) -> None:
    """Write files, none of which may exist; their directories must. Modes are 0600, or 0700 where marked executable.

    Args:
        file: Descriptor of the zip file.
        files: What is to be written, and where.
        cancel: Ends it between two buffers.

    Raises:
        ZipError: The content of one is not what the directory said.
        OSError: The disk did not take it.
        Cancelled: When `cancel` was cancelled meanwhile.

    """
    work: SimpleQueue[tuple[Entry, str]] = SimpleQueue()
    for one in sorted(files, key=lambda one: one[0].size, reverse=True):  # so that no thread begins the largest last
        work.put(one)
    total = sum(entry.size for entry, _ in files)
    helpers = min(_MOST_WORKERS, len(os.sched_getaffinity(0)), len(files), total // _WORTH_A_THREAD) - 1
    crew = _Crew(file, work, cancel)
    threads = [threading.Thread(target=crew.run, name=f"fedenvoy-unpack-{number}") for number in range(helpers)]
    for thread in threads:
        thread.start()
    crew.run()
    for thread in threads:
        thread.join()
    if crew.failures:
        raise crew.failures[0]


class _Crew:
    """What the threads of one archive share; when one fails, the others give up."""

    def __init__(self, file: int, work: SimpleQueue[tuple[Entry, str]], cancel: Cancel | None) -> None:
        self._file = file
        self._work = work
        self._cancel = cancel
        self.failures: list[BaseException] = []

    def run(self) -> None:
        """Write files until there are none left; never raises."""
        try:
            while not self.failures:
                entry, path = self._work.get_nowait()
                _write(entry, path, self._watched(_content(self._file, entry)))
        except (Empty, _GivenUpError):
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            self.failures.append(error)

    def _watched(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self.failures:
                raise _GivenUpError
            if self._cancel is not None:
                self._cancel.raise_if_cancelled()
            yield piece


def _write(entry: Entry, path: str, pieces: Iterable[bytes]) -> None:
    mode = 0o700 if entry.mode & _EXECUTABLE else 0o600
    size = crc = 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as out:
        for piece in pieces:
            size += len(piece)
            if size > entry.size:
                raise ZipError(f"{shown(entry.name)} is larger than its directory says")
            crc = zlib.crc32(piece, crc)
            out.write(piece)
    if size < entry.size:
        raise ZipError(f"{shown(entry.name)} is smaller than its directory says")
    if crc != entry.crc:
        raise ZipError(f"{shown(entry.name)} does not have the checksum that its directory says")


def _content(file: int, entry: Entry) -> Iterator[bytes]:
    """Give the content in pieces of at most a buffer."""
    packed = _packed(file, entry)
    if entry.method == STORED:
        return packed
    return _inflated(packed, shown(entry.name))


def _inflated(packed: Iterable[bytes], name: str) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    trailing = False
    try:
        for data in packed:
            trailing = inflate.eof
            while data and not inflate.eof:
                if piece := inflate.decompress(data, _UNPACKED):
                    yield piece
                data = inflate.unconsumed_tail  # noqa: PLW2901 - what is left of it
        while not inflate.eof and (piece := inflate.decompress(b"", _UNPACKED)):
            yield piece
    except zlib.error as error:
        raise ZipError(f"the content of {name} is damaged") from error
    if trailing or inflate.unused_data or not inflate.eof:
        raise ZipError(f"the content of {name} does not end where it should")


def _packed(file: int, entry: Entry) -> Iterator[bytes]:
    at, end = entry.start, entry.start + entry.packed
    while at < end:
        data = read_exactly(file, at, min(_PACKED, end - at))
        at += len(data)
        yield data
