"""The bounds on the making of an environment: its time, and the room it may take on the disk while it is made.

Knows directories and clocks; what is run within the bounds, it only tells to end.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fedenvoy.cancel import Cancel
from fedenvoy.workspace.failures import RequirementsError

__all__ = ["Bounds", "Room", "size_of"]

LEAST_PAUSE = 0.3
"""Seconds between two looks at the room taken, at least; a look that takes long is followed by a longer pause."""


class Room:
    """What is taken on the disk: in directories of our own, and by what is new in a cache that others use, too.

    Args:
        limit: Bytes, of each of the two; 0: none.
        places: The directories, which need not exist yet.
        cache: uv's cache.

    """

    def __init__(self, limit: int, places: tuple[Path, ...], cache: Path) -> None:
        self._limit = limit
        self._places = places
        self._cache = cache
        self._since = time.time()

    def demand(self) -> None:
        """Look once; raises RequirementsError where it is too much."""
        if self._limit and (self._taken() > self._limit or self._fetched() > self._limit):
            raise RequirementsError(
                f"the requirements take more than {self._limit} bytes, which is all that one environment may have here "
                "(agent.requirements.max_environment_bytes)",
                "refused",
            )

    def clear(self) -> None:
        """Remove what was being unpacked into the cache, unless somebody else may be at it."""
        from fedenvoy.workspace.runs import remove_run  # noqa: PLC0415 - rarely needed

        for path in self._new(".tmp*"):
            if not _is_open_below(path):
                remove_run(path)

    def _taken(self) -> int:
        return sum(size_of(place) for place in self._places)

    def _fetched(self) -> int:
        return sum(size_of(path) for pattern in (".tmp*", "archive-v*/*") for path in self._new(pattern))

    def _new(self, pattern: str) -> list[Path]:
        found = []
        for path in self._cache.glob(pattern):
            with contextlib.suppress(OSError):
                if path.lstat().st_ctime >= self._since:
                    found.append(path)
        return found


class Bounds:
    """Cancels the work within a block when it is cancelled from outside, takes too long or takes too much room.

    Args:
        cancel: From outside.
        timeout: Seconds from now.
        room: What may be taken.
        tail: Gives the last lines that were printed within.

    Attributes:
        cancel: To give to what runs within.

    """

    def __init__(self, cancel: Cancel, timeout: float, room: Room, tail: Callable[[], str]) -> None:
        self.cancel = Cancel()
        self._tail = tail
        self._outer = cancel
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._room = room
        self._over = threading.Event()
        self._why: RequirementsError | None = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch for the length of a block; what cancels it is raised at its end, `Cancelled` or RequirementsError."""
        remove = self._outer.on_cancel(self.cancel.cancel)
        watcher = threading.Thread(target=self._watch, name="fedenvoy-room", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            remove()
            self._over.set()
            watcher.join()
            self._outer.raise_if_cancelled()
            if self._why is not None:
                self._room.clear()
                raise RequirementsError(str(self._why), self._why.kind, self._tail()) from None

    def _watch(self) -> None:
        pause = LEAST_PAUSE
        while not self._over.wait(min(pause, max(0.0, self._deadline - time.monotonic()))):
            begun = time.monotonic()
            if begun >= self._deadline:
                words = f"the requirements took longer than {self._timeout:g} seconds to install"
                self._why = RequirementsError(words, "timeout")
            else:
                self._why = _complaint(self._room.demand)
            if self._why is not None:
                self.cancel.cancel()
                return
            pause = max(LEAST_PAUSE, 10 * (time.monotonic() - begun))


def _complaint(look: Callable[[], None]) -> RequirementsError | None:
    try:
        look()
    except RequirementsError as error:
        return error
    return None


def size_of(top: Path) -> int:
    """Give the bytes that a file or directory takes on the disk; links are not followed, and what vanishes is nothing.

    A file with several names counts once.
    """
    total, seen, waiting = 0, set[tuple[int, int]](), [os.fspath(top)]
    while waiting:
        path = waiting.pop()
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
                if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - many paths, no objects
                    with os.scandir(path) as entries:
                        waiting.extend(entry.path for entry in entries)
    return total


def _is_open_below(place: Path) -> bool:
    """Whether some process has a file open there."""
    prefix = f"{place}/"
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith(prefix):  # noqa: PTH115 - many paths
                return True
    return False
