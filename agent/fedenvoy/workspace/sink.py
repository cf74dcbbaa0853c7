"""Writes a stream to disk and hashes it, in a thread of its own, while the next part of it is on its way.

OpenSSL and the disk let go of Python's lock, so that receiving, hashing and writing go side by side.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Sink", "SinkError"]

_AHEAD = 1
"""Chunks that wait to be written; with a chunk of OpenFL's size they are 2 MiB."""


class SinkError(Exception):
    """The disk did not take it; `reason` is the system's own error."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Sink:
    """One new file, mode 0600; use it as a context manager. At its end all is written, or it raises.

    Args:
        path: What is there already is emptied; a link is refused.

    Attributes:
        digest: SHA-256 of all that was put in, hexadecimal; complete after the block.

    """

    def __init__(self, path: Path) -> None:
        self.digest = ""
        self._path = path
        self._hash = hashlib.sha256()
        self._queue: Queue[bytes | memoryview | None] = Queue(_AHEAD)
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None
        self._begun = False
        self._out: Any = None

    def __enter__(self) -> Self:
        try:
            self._out = _open_new(self._path)
        except OSError as error:
            raise SinkError(error) from error
        return self

    def put(self, chunk: bytes | memoryview) -> None:
        """Take one more chunk; waits while those before it are not written.

        Raises:
            SinkError: One of those before, or this one, could not be written.

        """
        if self._thread is None and self._begun:  # most archives are a single chunk, which is not worth a thread
            self._thread = threading.Thread(target=self._work, name="fedenvoy-intake")
            self._thread.start()
        self._begun = True
        if self._thread is None:
            self._write(chunk)
        else:
            self._queue.put(chunk)
        self._raise_failure()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        try:
            self._out.close()
        except OSError as failure:
            self._failure = self._failure or failure
        self.digest = self._hash.hexdigest()
        if error is None:
            self._raise_failure()

    def _work(self) -> None:
        while (chunk := self._queue.get()) is not None:
            if self._failure is None:  # else only make room for what is being put
                self._write(chunk)

    def _write(self, chunk: bytes | memoryview) -> None:
        view = memoryview(chunk)
        try:
            self._hash.update(view)
            while view:
                view = view[self._out.write(view) :]
        except OSError as error:
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise SinkError(self._failure) from self._failure


def _open_new(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb", 0)
