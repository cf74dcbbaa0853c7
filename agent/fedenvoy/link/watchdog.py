"""Ends waits that bring too little: gRPC bounds a whole stream, neither the silence in it nor its slowness."""

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

    It has patience for so many seconds of waiting; what comes in gives it new patience, never more than at first.

    Args:
        patience: Seconds.
        bite: Called once, from the watching thread, when the patience is at an end.

    """

    def __init__(self, patience: float, bite: Callable[[], object]) -> None:
        self.bitten = False
        """Whether the patience came to an end."""
        self._most = self._left = patience
        self._bite = bite
        self._changed = threading.Condition()
        self._due: float | None = None
        self._look = 0.0
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
        began = time.monotonic()
        self._set(began + self._left)
        try:
            yield
        finally:
            self._set(None)
            self._left -= time.monotonic() - began

    def calm(self, seconds: float) -> None:
        """Give new patience for what has come in; by the thread that is watched, between two waits."""
        self._left = min(self._most, max(0.0, self._left) + seconds)

    def _set(self, due: float | None) -> None:
        with self._changed:
            self._due = due
            if due is not None and due < self._look:  # else the watching thread looks again early enough by itself
                self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                now = time.monotonic()
                left = self._most if self._due is None else self._due - now
                if left <= 0:
                    self.bitten = True
                    break
                self._look = now + left
                self._changed.wait(left)
        if self.bitten:
            self._bite()
