"""How long to wait before the next try, as tenacity strategies that are called by hand.

Apart from `backoff`, which gives the delays by name: tenacity loads asyncio, and a node whose director answers never
needs either. Nothing here sleeps, counts or loops. The chance is drawn *inside* the capped window; jitter that is added
before the cap is cut off by it, and then a whole fleet comes back in lock-step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_base, wait_exponential

from fedenvoy.backoff import LONGEST_PAUSE

if TYPE_CHECKING:
    import random

__all__ = ["Jittered", "OutageShare", "director_wait", "moment", "retry_wait"]

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


def director_wait(rng: random.Random) -> wait_base:
    """Give the strategy for dialling a director."""
    return Jittered(OutageShare(0.1, least=0.5, most=LONGEST_PAUSE), rng, low=0.2)


def retry_wait(rng: random.Random, *, first: float, cap: float, low: float, floor: float = 0.0) -> wait_base:
    """Give a strategy whose window doubles with every attempt, from `first` to `cap` seconds."""
    return Jittered(wait_exponential(multiplier=first, max=cap), rng, low=low, floor=floor)


def moment(*, attempt: int, elapsed: float = 0.0) -> RetryCallState:
    """Build what a wait strategy looks at: the number of tries and the seconds since the first."""
    state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = min(max(1, attempt), _MOST_DOUBLINGS)
    state.start_time = 0.0
    state.outcome_timestamp = elapsed
    return state
