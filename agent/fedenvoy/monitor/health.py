"""The thread that keeps telling the director that this node lives, and the owner whether the director does.

It knows one link at a time, through `HealthPort`. Nothing that the link, a reply or a callable does can end the
thread while the agent lives: a node whose checks have ceased is shown offline while it goes on training, and nobody
notices.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fedenvoy_statecharts import Event

from fedenvoy.events import DeviceReading, Health, Message, Post, Problem, Scopes
from fedenvoy.monitor.check import Answer, Checker, judge
from fedenvoy.monitor.detector import DEFAULT_PERIOD, FailureDetector, Finding
from fedenvoy.ports import HealthPort

__all__ = ["HealthMonitor"]

_AFTER_TROUBLE = 1.0


@dataclass(slots=True, eq=False)
class _Watch:
    """One link under watch; another `begin` makes another one, and results for this one are then dropped."""

    link: HealthPort
    scopes: Scopes
    detector: FailureDetector
    extra: bool = False


class HealthMonitor:
    """Check one link at the director's period, and post what that says.

    Posts `health_checked` (`Health`), `health_missed`, `director_lost`, `shard_forgotten` and `link_rejected`
    (`Problem`), stamped with the scopes given to `begin`; nothing for a link once `begin` or `end` took it away.
    All methods are thread-safe and, `stop` excepted, return at once.

    Args:
        post: Where the messages go. It is called with this object's lock held, hence must not block.
        is_running: Whether an experiment runs; asked before each check.
        readings: The GPU readings to send, one per registered device; asked before each check, must not block.
        clock: Seconds; never runs backwards.
        age: Gives the seconds since the readings were taken; must not block.
        pause: How the thread waits; the seam by which a test makes time pass.

    """

    def __init__(
        self,
        post: Post,
        is_running: Callable[[], bool],
        readings: Callable[[], tuple[DeviceReading, ...]],
        clock: Callable[[], float] = time.monotonic,
        *,
        age: Callable[[], float | None] = lambda: None,
        pause: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self._post = post
        self._clock = clock
        self._pause = pause
        self._checker = Checker(is_running, readings, clock, age)
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._watch: _Watch | None = None
        self._stopping = False
        self._period = DEFAULT_PERIOD

    def begin(self, link: HealthPort, scopes: Scopes) -> None:
        """Check `link` now, and go on for as long as it lives; another link takes its place.

        The same link again means an extra check, and its misses go on counting: the core asks for one after each miss
        of a link that was never confirmed.
        """
        with self._wake:
            watch = self._watch
            if watch is not None and watch.link is link and watch.scopes.link == scopes.link:
                watch.scopes, watch.extra = scopes, True
            else:
                self._watch = _Watch(link, scopes, FailureDetector(self._clock(), self._period))
            if not self._stopping and not self.is_alive():
                self._thread = threading.Thread(target=self._run, name="fedenvoy-health", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def check_now(self) -> None:
        """Send one more check at once, for example because a run has ended; harmless without a link."""
        with self._wake:
            if self._watch is not None:
                self._watch.extra = True
                self._wake.notify_all()

    def end(self) -> None:
        """Send no more checks until the next `begin`."""
        with self._wake:
            self._watch = None
            self._wake.notify_all()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread; give whether it ended within `timeout` seconds (a call under way is not cut off)."""
        with self._wake:
            self._watch, self._stopping = None, True
            self._wake.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return not self.is_alive()

    def is_alive(self) -> bool:
        """Whether the thread runs; it begins with the first link."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        while self._step():
            pass

    def _step(self) -> bool:
        """Send one check; False: the agent ends, which is the only thing that may end this thread."""
        try:
            watch = self._next()
            if watch is None:
                return False
            answer = self._checker.check(watch.link)
            self._conclude(watch, answer)
        except BaseException as error:  # noqa: BLE001 - see above
            self._checker.note("the health monitor itself failed", error)
            with self._wake:
                if not self._stopping:
                    self._wake.wait(_AFTER_TROUBLE)
        return True

    def _next(self) -> _Watch | None:
        """Wait until a check is to be sent; None: the agent ends."""
        with self._wake:
            while not self._stopping:
                watch = self._watch
                if watch is None or watch.detector.ended:
                    self._pause(self._wake, None)
                    continue
                now = self._clock()
                if watch.extra or watch.detector.due <= now:
                    watch.extra = False
                    watch.detector.begun(now)
                    return watch
                # A check that is due goes first: after this process was starved, an answer is worth more than a count.
                if lost := watch.detector.expired(now):
                    self._tell(watch, lost)
                else:
                    self._pause(self._wake, watch.detector.wake - now)
            return None

    def _conclude(self, watch: _Watch, answer: Answer) -> None:
        with self._wake:
            findings = judge(watch.detector, answer, self._clock())
            self._period = watch.detector.period
            self._tell(watch, findings, answer)

    def _tell(self, watch: _Watch, findings: tuple[Finding, ...], answer: Answer | None = None) -> None:
        for finding in findings:
            if self._watch is not watch:  # taken away while the check ran, or by an owner told of the one before
                return
            try:
                self._post(_message(watch, finding, answer))
            except BaseException as error:  # noqa: BLE001 - the next message must still be tried
                self._checker.note("a message to the owner was lost", error)


def _message(watch: _Watch, finding: Finding, answer: Answer | None) -> Message:
    if finding.event is Event.HEALTH_CHECKED and answer is not None:
        return Health(
            event=finding.event,
            scopes=watch.scopes,
            period=watch.detector.period,
            readings=answer.readings,
            latency=answer.latency,
            age=answer.age,
        )
    return Problem(event=finding.event, scopes=watch.scopes, text=finding.text, code=finding.code)
