"""GPU readings from code of the site's own, asked in a thread of its own: however long it takes, no check waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from fedenvoy.devices import DeviceState, GpuReport
from fedenvoy.events import DeviceReading
from fedenvoy.logs import RateLimited
from fedenvoy.monitor.vitals import VITALS

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
        self._wake = threading.Condition()
        self._stopping = self._hurry = False
        self._begun = self._done = 0
        self._last: tuple[DeviceReading, ...] = ()
        self._last_at: float | None = None
        self._log = RateLimited(logging.getLogger(__name__))
        self._thread = threading.Thread(target=self._run, name="fedenvoy-gpu-hook", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def readings(self) -> tuple[DeviceReading, ...]:
        """Give the last answer at once; empty before the first."""
        return self._last

    def age(self) -> float | None:
        """Give the seconds since the hook was last asked with success; None when it never was."""
        at = self._last_at
        return None if at is None else time.monotonic() - at

    def report(self) -> GpuReport:
        """Give what is known: the readings, and nothing beyond them."""
        lacking = tuple(name.replace("_", " ") for name in VITALS)
        return GpuReport(
            tuple(DeviceState(reading.index, reading, unsupported=lacking) for reading in self._last), self.age()
        )

    def refresh(self, timeout: float) -> bool:
        """Ask now; whether an answer that began after this call has come within `timeout` seconds."""
        with self._wake:
            if not self._thread.is_alive() or self._stopping:
                return False
            begun, self._hurry = self._begun, True
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._done > begun or self._stopping, timeout)
            return self._done > begun

    def stop(self, timeout: float = 1.0) -> bool:
        """Ask no more; tell whether the thread has ended (one that is stuck in the hook is left behind)."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            with self._wake:
                self._begun += 1
                self._hurry = False
            self._ask()
            self._rest()

    def _rest(self) -> None:
        with self._wake:
            self._done = self._begun
            self._wake.notify_all()
            if not (self._stopping or self._hurry):
                self._wake.wait(self._interval)

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            self._last = self._hook()
            self._last_at = began
        except Exception as error:  # noqa: BLE001 - the site's code; readings are a courtesy
            self._log.log(logging.WARNING, "hook", "the GPU hook failed", exc_info=error)
