"""One way to tell a job thread to stop: shared by every adapter whose work can take long.

It knows nothing of the agent, so that an adapter's test needs nothing else.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Cancel", "Cancelled"]


class Cancelled(Exception):  # noqa: N818 - a request that was honoured, not an error
    """The work was given up because its `Cancel` was cancelled."""


class Cancel:
    """A switch that goes from "go on" to "stop" once, and wakes everyone who waits for it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Stop the work: run the callbacks, each once, in this thread; harmless when repeated.

        An exception in a callback does not keep the others from running; the first one is raised at the end.
        """
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        failure: BaseException | None = None
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001, PERF203 - raised again below, when all have run
                failure = failure or error
        if failure is not None:
            raise failure

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until cancelled or until `timeout` seconds have passed; tell whether it is cancelled."""
        return self._event.wait(timeout)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called once when the work is cancelled; at once, here, when it already is.

        Returns:
            A function that takes the callback off again; harmless when it has run or was taken off.

        """
        with self._lock:
            if not self._event.is_set():
                number = self._next
                self._next += 1
                self._callbacks[number] = callback
                return lambda: self._remove(number)
        callback()
        return lambda: None

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` when the work is to stop."""
        if self._event.is_set():
            raise Cancelled

    def _remove(self, number: int) -> None:
        with self._lock:
            self._callbacks.pop(number, None)
