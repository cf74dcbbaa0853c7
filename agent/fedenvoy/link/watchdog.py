"""Ends a wait that brings nothing: gRPC bounds a whole stream, not the silence between two of its messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Watchdog"]


class Watchdog:
    """Watches the waits of one other thread, from a thread of its own; use it as a context manager.

    Args:
        limit: Seconds that one wait may last.
        bite: Called once, from the watching thread, when a wait lasted longer.

    """

    def __init__(self, limit: float, bite: Callable[[], object]) -> None:
        self.limit = limit
        self.bitten = False
        """Whether a wait lasted too long."""
        self._bite = bite
        self._changed = threading.Condition()
        self._due: float | None = None
        self._over = False
        self._thread = threading.Thread(target=self._watch, name="fedenvoy-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Watch what is done inside; time spent outside does not count."""
        self._set(time.monotonic() + self.limit)
        try:
            yield
        finally:
            self._set(None)

    def _set(self, due: float | None) -> None:
        # No notification: the watching thread looks again at the latest when the earliest possible wait is over.
        with self._changed:
            self._due = due

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                left = self.limit if self._due is None else self._due - time.monotonic()
                if left <= 0:
                    self.bitten = True
                    break
                self._changed.wait(left)
        if self.bitten:
            self._bite()
