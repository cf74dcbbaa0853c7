"""The thread that reads the GPUs, so that nobody else ever waits for a driver.

It keeps the last good sample and hands it out at once. A driver that hangs holds this one thread and nothing else: no
check waits for it, no second thread is started beside it, and the agent ends without it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fedenvoy.devices import DeviceState, GpuReport
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
        deadline: Seconds that a poll may take before the driver counts as hung.
        pause: How the thread waits; the seam by which a test makes time pass.

    """

    def __init__(
        self,
        probe_factory: Callable[[], GpuProbe],
        devices: Sequence[int | str],
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        *,
        deadline: float = 10.0,
        pause: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self._factory = probe_factory
        self._devices = tuple(devices)
        self._interval = interval
        self._clock = clock
        self._deadline = deadline
        self._pause = pause
        self._reader = DeviceReader(self._devices)
        self._trouble = RateLimited(_log, clock=clock)
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._busy_since: float | None = None
        self._begun = self._done = 0
        self._hurry = False
        self._last: tuple[DeviceState, ...] = self._reader.unknown()
        self._last_at: float | None = None
        self._error = ""
        self._late = 0
        self._noticed: set[str] = set()
        self._probe: GpuProbe | None = None
        self._failures = 0
        self._losses = 0
        self._reopen_at = -math.inf
        self._outage: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Begin polling, where there are devices; harmless when repeated."""
        with self._wake:
            if self._devices and self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="fedenvoy-gpu", daemon=True)
                self._thread.start()

    def readings(self) -> tuple[DeviceReading, ...]:
        """Give one reading per registered device, in order, at once: the last good ones, zeros before the first.

        Of readings that are older than a minute the load tells the age, and the used memory is unknown.
        """
        with self._wake:
            last, age = tuple(state.reading for state in self._last), self._age()
        self._notice(age)
        return last if age is None or not self._stale(age) else tuple(_stale(reading, age) for reading in last)

    def age(self) -> float | None:
        """Give the seconds since the last good sample was begun; None when there was none."""
        with self._wake:
            return self._age()

    def report(self) -> GpuReport:
        """Give all that is known at this moment; at once."""
        with self._wake:
            age, overdue = self._age(), self._overdue()
            report = GpuReport(self._last, age, overdue, self._late + bool(overdue), self._error)
        self._notice(age)
        return report

    def refresh(self, timeout: float) -> bool:
        """Read now; whether a sample that began after this call has been taken within `timeout` seconds."""
        with self._wake:
            if self._thread is None or self._stopping:
                return False
            begun, self._hurry = self._begun, True
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._done > begun or self._stopping, timeout)
            return self._done > begun

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

    def _stale(self, age: float) -> bool:
        return age > max(_STALE, 6 * self._interval)

    def _overdue(self) -> float:
        """Give the seconds that the present poll has taken, once it has passed its deadline."""
        spent = 0.0 if self._busy_since is None else self._clock() - self._busy_since
        return spent if spent > self._deadline else 0.0

    def _notice(self, age: float | None) -> None:
        """Tell of a driver that hangs and of readings that are old: once each, until they are good again."""
        with self._wake:
            overdue, asking = self._overdue(), self._reader.asking
            hangs = bool(overdue) and "hangs" not in self._noticed
            old = age is not None and self._stale(age) and not self._noticed
            if hangs or old:
                self._noticed.add("hangs" if hangs else "old")
        if hangs:
            message = (
                "the GPU driver has not answered for %.0f s%s; the last readings are sent on, and nothing else waits"
            )
            self._warn(message, overdue, f", asked for {asking}" if asking else "")
        elif old:
            self._warn("the GPUs could not be read for %.0f s; what was read last is sent with its age", age)

    @staticmethod
    def _warn(message: str, *values: object) -> None:
        with contextlib.suppress(BaseException):  # a log handler of the embedding program may raise, too
            _log.warning(message, *values)

    def _run(self) -> None:
        while not self._stopping:
            began = self._begin()
            wait = self._poll(began)
            self._end()
            self._rest(wait)
        self._close()

    def _rest(self, wait: float) -> None:
        with self._wake:
            if not (self._stopping or self._hurry):
                self._pause(self._wake, wait)

    def _begin(self) -> float:
        with self._wake:
            self._busy_since = self._clock()
            self._begun += 1
            self._hurry = False
            return self._busy_since

    def _end(self) -> None:
        with self._wake:
            overdue = self._overdue()
            self._late += bool(overdue)
            self._busy_since, self._done = None, self._begun
            self._wake.notify_all()
            hung = bool(overdue) and "hangs" in self._noticed
            self._noticed.discard("hangs")
        if hung:
            self._warn("the GPU driver answers again, after %.0f s", overdue)

    def _poll(self, began: float) -> float:
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
            self._last, self._last_at, self._error = sample.states, began, ""
            self._noticed.discard("old")
        if self._failures:
            self._trouble.log(logging.INFO, "back", "GPU readings are back after %d failed attempts", self._failures)
            self._failures = 0
            self._outage.clear()
        self._look_for_lost(began, lost=sample.lost)
        return self._interval

    def _look_for_lost(self, now: float, *, lost: bool) -> None:
        """Open the library anew while a device is gone, more and more rarely: the driver finds it then, if at all."""
        if not lost:
            self._losses, self._reopen_at = 0, -math.inf
        elif now >= self._reopen_at:
            self._close()
            self._losses += 1
            self._reopen_at = now + min(_LONGEST_WAIT, math.ldexp(self._interval, min(self._losses, 16)))

    def _failed(self, what: str, error: BaseException) -> float:
        """Count a failure, told once in each outage; give the seconds to the next attempt."""
        self._failures += 1
        with self._wake:
            self._error = f"{what}: {words(error)}"
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


def _stale(reading: DeviceReading, age: float) -> DeviceReading:
    """Give a reading that nobody can take for a present one."""
    load = f"{reading.device_utilization}, " if reading.device_utilization else ""
    return replace(reading, memory_utilized=0, device_utilization=f"{load}read {age:.0f} s ago")
