"""The thread that reads the GPUs, so that nobody else ever waits for a driver.

It keeps the last good readings and hands them out at once. A driver that hangs holds this one thread and nothing
else: no check waits for it, no second thread is started beside it, and the agent ends without it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fedenvoy.events import DeviceReading
from fedenvoy.logs import RateLimited, words
from fedenvoy.monitor.reader import DeviceReader
from fedenvoy.ports import GpuProbe

__all__ = ["GpuSampler"]

_log = logging.getLogger(__name__)

_LOST_AFTER = 3
"""Polls in a row without a single answer, after which the probe is closed and opened anew."""

_LONGEST_WAIT = 300.0
"""Seconds between attempts to open a probe, once they have failed for a while."""

_STALE = 60.0
"""Seconds after which a reading no longer says anything of load and used memory; at least six polls."""


class GpuSampler:
    """Poll the registered devices at a fixed interval.

    Args:
        probe_factory: Opens the probe; called in the sampler's thread, may fail, is called again after a loss.
        devices: The devices as registered; none: no thread, no readings.
        interval: Seconds between two polls.
        clock: Seconds; never runs backwards.
        pause: How the thread waits; the seam by which a test makes time pass.

    """

    def __init__(
        self,
        probe_factory: Callable[[], GpuProbe],
        devices: Sequence[int | str],
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        *,
        pause: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self._factory = probe_factory
        self._devices = tuple(devices)
        self._interval = interval
        self._clock = clock
        self._pause = pause
        self._reader = DeviceReader(self._devices)
        self._trouble = RateLimited(_log, clock=clock)
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._busy_since: float | None = None
        self._last = self._reader.unknown()
        self._last_at: float | None = None
        self._probe: GpuProbe | None = None
        self._failures = 0
        self._outage: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Begin polling, where there are devices; harmless when repeated."""
        with self._wake:
            if self._devices and self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="fedenvoy-gpu", daemon=True)
                self._thread.start()

    def readings(self) -> tuple[DeviceReading, ...]:
        """Give one reading per registered device, in order, at once: the last good ones, zeros before the first.

        Readings that are older than a minute keep what does not change (name, versions, memory size) and lose the rest.
        """
        with self._wake:
            last, age = self._last, self._age()
        if age is None or age <= max(_STALE, 6 * self._interval):
            return last
        message = "the GPUs could not be read for %.0f s; load and used memory are sent as unknown"
        self._trouble.log(logging.WARNING, "stale", message, age)
        return tuple(replace(reading, memory_utilized=0, device_utilization="") for reading in last)

    def age(self) -> float | None:
        """Give the seconds since the last good reading; None when there was none."""
        with self._wake:
            return self._age()

    def stop(self, timeout: float = 1.0) -> bool:
        """End the thread; give whether it has ended.

        A poll that began within `timeout` seconds is awaited for that long, an older one is stuck and left behind.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
            thread, busy = self._thread, self._busy_since
            spent = 0.0 if busy is None else self._clock() - busy
        if thread is None:
            return True
        thread.join(max(0.0, timeout - spent))
        return not thread.is_alive()

    def _age(self) -> float | None:
        return None if self._last_at is None else self._clock() - self._last_at

    def _run(self) -> None:
        while not self._stopping:
            self._busy(self._clock())
            wait = self._poll()
            self._busy(None)
            with self._wake:
                if not self._stopping:
                    self._pause(self._wake, wait)
        self._close()

    def _busy(self, since: float | None) -> None:
        with self._wake:
            self._busy_since = since

    def _poll(self) -> float:
        """Read once, opening the probe first where there is none; give the seconds to the next poll."""
        if self._probe is None:
            try:
                self._probe = self._factory()
            except BaseException as error:  # noqa: BLE001 - no GPU library is a state, not an end
                return self._failed("the GPU monitor could not be started", error)
        sample = self._reader.read(self._probe)
        if sample.error is not None:
            return self._failed("the GPUs could not be read", sample.error)
        with self._wake:
            self._last, self._last_at = sample.readings, self._clock()
        if self._failures:
            self._trouble.log(logging.INFO, "back", "GPU readings are back after %d failed attempts", self._failures)
            self._failures = 0
            self._outage.clear()
        return self._interval

    def _failed(self, what: str, error: BaseException) -> float:
        """Count a failure, told once in each outage; give the seconds to the next attempt."""
        self._failures += 1
        key = (what, type(error).__name__)
        if key not in self._outage:
            self._outage.add(key)
            message = "%s (experiments are not affected; it is tried again): %s"
            with contextlib.suppress(BaseException):  # a log handler of the embedding program may raise, too
                self._trouble.log(logging.WARNING, key, message, what, words(error))
                _log.debug("%s", what, exc_info=error)
        if self._probe is not None and self._failures < _LOST_AFTER:
            return self._interval
        self._close()
        doublings = max(0, min(self._failures - _LOST_AFTER, 16))
        return max(self._interval, min(_LONGEST_WAIT, math.ldexp(self._interval, doublings)))

    def _close(self) -> None:
        probe, self._probe = self._probe, None
        close = getattr(probe, "close", None)
        if close is not None:
            with contextlib.suppress(BaseException):  # it is lost in any case
                close()
