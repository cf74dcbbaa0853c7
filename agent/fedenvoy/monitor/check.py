"""One health check, whatever happens in it: what is sent, what came back, and what that says to the detector.

Everything it calls belongs to somebody else (the link, the owner, the site's own GPU monitor) and may raise anything;
the last good answer is better than no check.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from fedenvoy.calls import CallError, CallKind
from fedenvoy.events import DeviceReading
from fedenvoy.logs import RateLimited, words
from fedenvoy.monitor.detector import FailureDetector, Finding
from fedenvoy.ports import HealthPort, HealthReply

__all__ = ["Answer", "Checker", "judge"]

_log = logging.getLogger(__name__)

_LONGEST_PERIOD = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one check brought.

    Attributes:
        reply: The director's; None when there was none.
        error: Why there was none.
        readings: The GPU readings that were sent.
        latency: Seconds until the reply or the error.
        age: Seconds since the readings were taken; None where there are none.

    """

    reply: HealthReply | None
    error: BaseException | None
    readings: tuple[DeviceReading, ...] = ()
    latency: float = 0.0
    age: float | None = None


class Checker:
    """Send health checks; `check` and `note` never raise.

    Args:
        is_running: Whether an experiment runs.
        readings: The GPU readings, one per registered device.
        clock: Seconds; never runs backwards.
        age: Seconds since the readings were taken.

    """

    def __init__(
        self,
        is_running: Callable[[], bool],
        readings: Callable[[], tuple[DeviceReading, ...]],
        clock: Callable[[], float],
        age: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._is_running = is_running
        self._readings = readings
        self._age = age
        self._clock = clock
        self._trouble = RateLimited(_log, clock=clock)
        self._last_running = False
        self._last_readings: tuple[DeviceReading, ...] = ()

    def check(self, link: HealthPort) -> Answer:
        """Send one."""
        running, readings, age = self._ask_running(), self._ask_readings(), self._ask_age()
        answer = replace(self._call(link, running, readings), age=age)
        if answer.error is None or isinstance(answer.error, CallError):
            return answer
        self.note("a health check failed in an unexpected way", answer.error)
        # Readings that cannot be put into a message must not cost the check: once more without them.
        return self._call(link, running, ()) if readings else answer

    def note(self, what: str, error: BaseException) -> None:
        """Log an error that should not have been, not more often than it helps."""
        with contextlib.suppress(BaseException):  # a log handler of the embedding program may raise, too
            self._trouble.log(logging.ERROR, what, "%s (it goes on): %s", what, words(error), exc_info=error)

    def _call(self, link: HealthPort, running: bool, readings: tuple[DeviceReading, ...]) -> Answer:
        began = self._clock()
        try:
            reply = link.health_check(running=running, readings=readings)
        except BaseException as error:  # noqa: BLE001 - whatever the link raises is a missed check
            return Answer(None, error, readings, self._clock() - began)
        return Answer(reply, None, readings, self._clock() - began)

    def _ask_running(self) -> bool:
        try:
            self._last_running = bool(self._is_running())
        except BaseException as error:  # noqa: BLE001 - see the module's first lines
            self.note("asking whether an experiment runs failed", error)
        return self._last_running

    def _ask_age(self) -> float | None:
        try:
            return self._age()
        except BaseException as error:  # noqa: BLE001 - see the module's first lines
            self.note("the age of the GPU readings could not be had", error)
            return None

    def _ask_readings(self) -> tuple[DeviceReading, ...]:
        try:
            readings = tuple(self._readings())
            if not all(isinstance(reading, DeviceReading) for reading in readings):
                raise TypeError(f"expected DeviceReading objects, got {readings!r:.200}")
            self._last_readings = readings
        except BaseException as error:  # noqa: BLE001 - see the module's first lines
            self.note("the GPU readings could not be had", error)
        return self._last_readings


def judge(detector: FailureDetector, answer: Answer, at: float) -> tuple[Finding, ...]:
    """Tell the detector what a check brought, and give what it makes of that."""
    error = answer.error
    if error is None:
        return detector.ok(_period(answer.reply, detector.period))
    if not isinstance(error, CallError):
        return detector.missed(at, type(error).__name__, words(error))
    if error.kind is CallKind.REREGISTER:
        return detector.forgotten(error.code, error.text)
    if error.kind is CallKind.REJECTED:
        return detector.rejected(error.code, error.text)
    if error.kind is CallKind.CANCELLED:
        return detector.interrupted(at)
    return detector.missed(at, error.code, error.text)


def _period(reply: object, last: float) -> float:
    """Give the reply's period, bounded; the last one when the reply makes no sense."""
    period = getattr(reply, "period", None)
    if isinstance(period, int | float) and math.isfinite(period) and period > 0:
        return min(float(period), _LONGEST_PERIOD)
    return last
