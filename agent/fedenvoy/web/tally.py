"""What happened so far in this session, counted: fed by the owner thread after every step, read by any other."""

from __future__ import annotations

import bisect
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from fedenvoy.commands import Record, Report

__all__ = ["LATENCIES", "Counts", "Tally"]

LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: upper ends of the histogram of health-check latencies; what is above them all counts as well."""


@frozen
class Counts:
    """A tally at one moment."""

    transitions: Mapping[tuple[str, str, str], int]
    """By event, state before ("" at the start) and state after."""
    seconds: Mapping[str, float]
    """Time in each state, up to this moment."""
    tries: Mapping[str, int]
    """Steps that were a try after a failure, by the event that made it necessary."""
    verdicts: Mapping[str, int]
    """Experiments that ended here, by verdict."""
    outcomes: Mapping[str, int]
    """Reports that left the outbox, by outcome."""
    latencies: Sequence[int]
    """Health checks that took at most as long as each of `LATENCIES`, not cumulated; the last is for longer ones."""
    latency_sum: float
    """Seconds that all of them took together."""
    oldest_report: float | None
    """When the report that waits longest was made, seconds since the epoch; None when none waits."""


class Tally:
    """The counters of one session.

    Args:
        waiting: Reports that earlier sessions left.
        clock: Monotonic seconds.
        wall: Seconds since the epoch.

    """

    def __init__(
        self,
        waiting: Sequence[Report] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._waiting = {report.id: report.made_at for report in waiting}
        self._transitions: Counter[tuple[str, str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._tries: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._latencies = [0] * (len(LATENCIES) + 1)
        self._latency_sum = 0.0
        self._state = ""
        self._since = clock()

    def note(self, record: Record, latency: float | None = None) -> None:
        """Count a step.

        Args:
            record: What was done.
            latency: Seconds that the director took to answer, where the step is an answered health check.

        """
        with self._lock:
            event, target = record.event.value, record.target.value
            self._transitions[event, record.source.value if record.source else "", target] += 1
            self._enter(target)
            if record.attempt:
                self._tries[event] += 1
            if record.report is not None:
                self._verdicts[record.report.verdict.value] += 1
                self._waiting[record.report.id] = self._wall()
            if record.delivered:
                self._outcomes[record.outcome] += 1
                self._waiting.pop(record.delivered, None)
            if latency is not None:
                self._latencies[bisect.bisect_left(LATENCIES, latency)] += 1
                self._latency_sum += latency

    def counts(self) -> Counts:
        """Give all counters as they are now."""
        with self._lock:
            self._enter(self._state)
            return Counts(
                transitions=dict(self._transitions),
                seconds={state: seconds for state, seconds in self._seconds.items() if state},
                tries=dict(self._tries),
                verdicts=dict(self._verdicts),
                outcomes=dict(self._outcomes),
                latencies=tuple(self._latencies),
                latency_sum=self._latency_sum,
                oldest_report=min(self._waiting.values(), default=None),
            )

    def _enter(self, state: str) -> None:
        now = self._clock()
        self._seconds[self._state] += now - self._since
        self._state, self._since = state, now
