"""How long to wait before the next try: pure functions of what went wrong so far and of a source of chance.

The lifecycle makes every retry a visible transition, so nothing here sleeps, counts or loops: tenacity's wait
strategies are called by hand with the numbers that matter. The chance is drawn *inside* the capped window;
jitter that is added before the cap is cut off by it, and then a whole fleet comes back in lock-step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_base, wait_exponential

if TYPE_CHECKING:
    import random

__all__ = ["Jittered", "OutageShare", "decline_delay", "director_delay", "retry_delay"]

# Past this many tries every window is at its cap; the bound keeps 2**attempt a small number.
_MOST_DOUBLINGS = 64


class OutageShare(wait_base):
    """A window that grows with the time since the first failure, whatever the number of tries.

    Attributes:
        share: Part of the outage so far.
        least: Seconds; the window right after the first failure.
        most: Seconds; the window after a long outage.
    """

    def __init__(self, share: float, *, least: float, most: float) -> None:
        self.share = share
        self.least = least
        self.most = most

    def __call__(self, retry_state: RetryCallState) -> float:
        """Give the window in seconds."""
        return min(self.most, max(self.least, self.share * (retry_state.seconds_since_start or 0.0)))


class Jittered(wait_base):
    """A draw from the upper part of another strategy's window: from `low` times the window to all of it.

    Attributes:
        window: The strategy that gives the longest wait, already capped.
        rng: Where the chance comes from.
        low: Smallest share of the window, 0 to 1; above zero, so that no draw makes a hot loop.
        floor: Seconds that every draw is at least.
    """

    def __init__(self, window: wait_base, rng: random.Random, *, low: float, floor: float = 0.0) -> None:
        self.window = window
        self.rng = rng
        self.low = low
        self.floor = floor

    def __call__(self, retry_state: RetryCallState) -> float:
        """Give the wait in seconds."""
        window = max(self.floor, self.window(retry_state))
        return self.rng.uniform(max(self.floor, self.low * window), window)


def director_delay(outage: float, rng: random.Random) -> float:
    """Give the seconds before the next dial.

    A draw from (0.2..1) x min(15 s, max(0.5 s, 10 % of the outage)): back within 2 s after an outage of 20 s,
    within 15 s after any, and never together with the other nodes.

    Args:
        outage: Seconds since the link was lost, or since the first dial.
        rng: Where the chance comes from.
    """
    wait = Jittered(OutageShare(0.1, least=0.5, most=15.0), rng, low=0.2)
    return wait(_moment(attempt=1, elapsed=outage))


def retry_delay(attempt: int, rng: random.Random, *, first: float = 1.0, cap: float = 60.0) -> float:
    """Give the seconds before a poll, download or delivery is tried again.

    A draw from (0.05..1) x a window that doubles with each attempt, jittered at the cap as well.

    Args:
        attempt: Failed tries in a row, from 1.
        rng: Where the chance comes from.
        first: Seconds; the window after the first failure.
        cap: Seconds; the largest window.
    """
    wait = Jittered(wait_exponential(multiplier=first, max=cap), rng, low=0.05)
    return wait(_moment(attempt=attempt))


def decline_delay(attempt: int, rng: random.Random) -> float:
    """Give the seconds before the next poll when an offer was declined: 1 s at least, 60 s at most.

    The director offers the same experiment again at once, and without a floor the two would answer each other
    as fast as the network allows.

    Args:
        attempt: Declined offers in a row, from 1.
        rng: Where the chance comes from.
    """
    wait = Jittered(wait_exponential(multiplier=2.0, max=60.0), rng, low=0.0, floor=1.0)
    return wait(_moment(attempt=attempt))


def _moment(*, attempt: int, elapsed: float = 0.0) -> RetryCallState:
    """Build what a wait strategy looks at: the number of tries and the seconds since the first."""
    state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = min(max(1, attempt), _MOST_DOUBLINGS)
    state.start_time = 0.0
    state.outcome_timestamp = elapsed
    return state
