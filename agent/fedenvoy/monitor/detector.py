"""When a director counts as lost: the results of health checks go in, the events to post come out.

Sans-I/O: no thread, no clock and no call; every moment is an argument, in seconds of one clock that never runs
backwards. One detector watches one link, and says one last thing about it: after `director_lost`,
`shard_forgotten` or `link_rejected` it has ended and is silent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedenvoy_statecharts import Event

__all__ = ["DEFAULT_PERIOD", "LIMIT", "FailureDetector", "Finding"]

DEFAULT_PERIOD = 60.0
"""Seconds between checks until the director has said how it wants them."""

LIMIT = 3
"""Misses in a row after which the director is lost."""

_VALID_PERIODS = 2
_SHORTEST_RETRY = 0.25
_FIRST_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell the owner.

    Attributes:
        event: What happened.
        code: The status that came with it; empty where there is none.
        text: One sentence for people; empty for `health_checked`.

    """

    event: Event
    code: str = ""
    text: str = ""


class FailureDetector:
    """Keep the schedule of the checks and judge their results.

    Checks follow each other by the director's period, counted from when each was due rather than from its answer, so
    that a slow director is not checked more rarely. After a miss the next one comes sooner, so that three misses fit
    into the time for which the director believes the last answered one.

    Args:
        at: When the link was accepted; the first check is due at once.
        period: Seconds between checks until the director says otherwise.

    """

    def __init__(self, at: float, period: float = DEFAULT_PERIOD) -> None:
        self.period = period
        """Seconds between checks, as the director wants them."""
        self.misses = 0
        """Misses since the last answer."""
        self.due = at
        """When the next check is due; infinitely far once this has ended."""
        self.valid_until = at + _VALID_PERIODS * period
        """When the director stops believing in this node, unless it answers a check before."""
        self.ended: Event | None = None
        """The last thing said of this link; None while it is watched."""
        self._answered = False
        self._begun = self._slot = at

    @property
    def wake(self) -> float:
        """When something is to be done next: a check, or asking whether the time has `expired`."""
        return math.inf if self.ended else min(self.due, self.valid_until)

    @property
    def retry(self) -> float:
        """Seconds from one missed check to the next; short until a first answer has come."""
        usual = min(self.period, max(_SHORTEST_RETRY, self.period / 3))
        return usual if self._answered else min(usual, _FIRST_RETRY * 2.0 ** (self.misses - 1))

    def begun(self, at: float) -> None:
        """Note that a check, due or extra, is sent."""
        on_time = 0 <= at - self.due < self.period
        self._begun, self._slot = at, self.due if on_time else at

    def ok(self, period: float) -> tuple[Finding, ...]:
        """Note that the check was answered; the director's belief is counted from when it was sent."""
        if self.ended:
            return ()
        self.period, self.misses, self._answered = period, 0, True
        self.due = max(self._slot, self._begun - period) + period
        self.valid_until = self._begun + _VALID_PERIODS * period
        return (Finding(Event.HEALTH_CHECKED),)

    def missed(self, at: float, code: str = "", text: str = "") -> tuple[Finding, ...]:
        """Note that the check was not answered in time, or with a passing error."""
        if self.ended:
            return ()
        self.misses += 1
        self.due = max(at, self._begun + self.retry)
        miss = Finding(Event.HEALTH_MISSED, code, text or "the health check was not answered")
        if self.misses < LIMIT:
            return (miss, *self.expired(at))
        return (miss, *self._end(Event.DIRECTOR_LOST, code, f"{LIMIT} health checks in a row were missed"))

    def interrupted(self, at: float) -> tuple[Finding, ...]:
        """Note that this side cut the check off, which says nothing of the director; another one follows."""
        if self.ended:
            return ()
        self.due = max(at, self._begun + self.retry)
        return self.expired(at)

    def forgotten(self, code: str = "", text: str = "") -> tuple[Finding, ...]:
        """Note that the director answered that it does not know this shard."""
        return self._end(Event.SHARD_FORGOTTEN, code, text or "the director does not know this shard any more")

    def rejected(self, code: str = "", text: str = "") -> tuple[Finding, ...]:
        """Note that TLS, the credentials or the protocol were refused."""
        return self._end(Event.LINK_REJECTED, code, text or "the director rejected the health check")

    def expired(self, at: float) -> tuple[Finding, ...]:
        """Say `director_lost` when the director's validity time has passed without an answered check."""
        if self.ended or at < self.valid_until:
            return ()
        waited = at - self.valid_until + _VALID_PERIODS * self.period
        return self._end(Event.DIRECTOR_LOST, "", f"no health check was answered for {waited:.0f} s")

    def _end(self, event: Event, code: str, text: str) -> tuple[Finding, ...]:
        if self.ended:
            return ()
        self.ended, self.due = event, math.inf
        return (Finding(event, code, text),)
