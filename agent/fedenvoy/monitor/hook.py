"""GPU readings from code of the site's own, asked in a thread of its own: however long it takes, no check waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from fedenvoy.events import DeviceReading
from fedenvoy.logs import RateLimited

__all__ = ["HookSampler"]


class HookSampler:
    """Keeps the last answer of a hook; the shape of `GpuSampler`.

    Args:
        hook: Gives the readings; may block, may raise.
        interval: Seconds between two calls.
    """

    def __init__(self, hook: Callable[[], tuple[DeviceReading, ...]], interval: float) -> None:
        self._hook = hook
        self._interval = interval
        self._stopped = threading.Event()
        self._last: tuple[DeviceReading, ...] = ()
        self._log = RateLimited(logging.getLogger(__name__))
        self._thread = threading.Thread(target=self._run, name="fedenvoy-gpu-hook", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def readings(self) -> tuple[DeviceReading, ...]:
        """Give the last answer at once; empty before the first."""
        return self._last

    def stop(self, timeout: float = 1.0) -> bool:
        """Ask no more; tell whether the thread has ended (one that is stuck in the hook is left behind)."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._last = self._hook()
            except Exception as error:  # noqa: BLE001 - the site's code; readings are a courtesy
                self._log.log(logging.WARNING, "hook", "the GPU hook failed", exc_info=error)
            self._stopped.wait(self._interval)
