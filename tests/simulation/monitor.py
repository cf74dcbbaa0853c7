"""Health checks as `monitor.health` sends them from its thread, with the real failure detector behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedenvoy.calls import CallError, CallKind
from fedenvoy.events import Health, Message, Problem, Scopes
from fedenvoy.monitor.detector import DEFAULT_PERIOD, FailureDetector, Finding
from fedenvoy_statecharts import Event

from simulation.kernel import Kernel, Ticket

if TYPE_CHECKING:
    from simulation.link import Link

__all__ = ["Monitor"]


class _Watch:
    """One link under watch."""

    __slots__ = ("detector", "extra", "link", "scopes")

    def __init__(self, link: Link, scopes: Scopes, detector: FailureDetector) -> None:
        self.link = link
        self.scopes = scopes
        self.detector = detector
        self.extra = False


class Monitor:
    """Checks one link at the director's period and tells the owner; one check at a time."""

    def __init__(self, kernel: Kernel, tell: Callable[[Message], None], is_running: Callable[[], bool]) -> None:
        self._kernel = kernel
        self._tell = tell
        self._is_running = is_running
        self._watch: _Watch | None = None
        self._calling = False
        self._ticket: Ticket | None = None
        self._period = DEFAULT_PERIOD

    def begin(self, link: Link, scopes: Scopes) -> None:
        """Check a link now, and go on."""
        self._watch = _Watch(link, scopes, FailureDetector(self._kernel.now, self._period))
        self._plan()

    def check_now(self) -> None:
        """Send one more check at once."""
        if self._watch is not None:
            self._watch.extra = True
            self._plan()

    def end(self) -> None:
        """Send no more."""
        self._watch = None
        self._plan()

    def _plan(self) -> None:
        """Decide when to wake up next."""
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None
        watch, now = self._watch, self._kernel.now
        if watch is None or self._calling or watch.detector.ended:
            return
        if watch.extra or watch.detector.due <= now:
            self._ticket = self._kernel.after(0.0005, lambda: self._send(watch))
        else:
            self._ticket = self._kernel.after(max(0.0, watch.detector.wake - now), lambda: self._ring(watch))

    def _ring(self, watch: _Watch) -> None:
        if watch.detector.due > self._kernel.now:
            self._say(watch, watch.detector.expired(self._kernel.now))
        self._plan()

    def _send(self, watch: _Watch) -> None:
        watch.extra = False
        watch.detector.begun(self._kernel.now)
        self._calling = True
        watch.link.health(running=self._is_running(), answer=lambda result: self._take(watch, result))

    def _take(self, watch: _Watch, result: object) -> None:
        self._calling = False
        findings = _judge(watch.detector, result, self._kernel.now)
        self._period = watch.detector.period
        self._say(watch, findings)
        self._plan()

    def _say(self, watch: _Watch, findings: tuple[Finding, ...]) -> None:
        for finding in findings:
            if self._watch is not watch:
                return
            self._tell(_message(watch, finding))


def _judge(detector: FailureDetector, result: object, now: float) -> tuple[Finding, ...]:
    if not isinstance(result, CallError):
        assert isinstance(result, float)
        return detector.ok(result)
    if result.kind is CallKind.REREGISTER:
        return detector.forgotten(result.code, result.text)
    if result.kind is CallKind.REJECTED:
        return detector.rejected(result.code, result.text)
    if result.kind is CallKind.CANCELLED:
        return detector.interrupted(now)
    return detector.missed(now, result.code, result.text)


def _message(watch: _Watch, finding: Finding) -> Message:
    if finding.event is Event.HEALTH_CHECKED:
        return Health(event=finding.event, scopes=watch.scopes, period=watch.detector.period)
    return Problem(event=finding.event, scopes=watch.scopes, text=finding.text, code=finding.code)
