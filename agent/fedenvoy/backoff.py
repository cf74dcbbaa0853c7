"""How long to wait before the next try: pure functions of what went wrong so far and of a source of chance.

The lifecycle makes every retry a visible transition, so a delay is all that is wanted of a retry library. Tenacity's
strategies (in `waits`) are called with the numbers that matter, and imported when the first delay is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

__all__ = ["LONGEST_PAUSE", "decline_delay", "director_delay", "retry_delay"]


LONGEST_PAUSE = 15.0
"""Seconds between two dials, at most."""


def director_delay(outage: float, rng: random.Random) -> float:
    """Give the seconds before the next dial.

    A draw from (0.2..1) x min(15 s, max(0.5 s, 10 % of the outage)): back within 2 s after an outage of 20 s,
    within 15 s after any, and never together with the other nodes.

    Args:
        outage: Seconds since the link was lost, or since the first dial.
        rng: Where the chance comes from.
    """
    from fedenvoy.waits import director_wait, moment  # noqa: PLC0415 - see above

    return director_wait(rng)(moment(attempt=1, elapsed=outage))


def retry_delay(attempt: int, rng: random.Random, *, first: float = 1.0, cap: float = 60.0) -> float:
    """Give the seconds before a poll, download or delivery is tried again.

    A draw from (0.05..1) x a window that doubles with each attempt, jittered at the cap as well.

    Args:
        attempt: Failed tries in a row, from 1.
        rng: Where the chance comes from.
        first: Seconds; the window after the first failure.
        cap: Seconds; the largest window.
    """
    from fedenvoy.waits import moment, retry_wait  # noqa: PLC0415 - see above

    return retry_wait(rng, first=first, cap=cap, low=0.05)(moment(attempt=attempt))


def decline_delay(attempt: int, rng: random.Random) -> float:
    """Give the seconds before the next poll when an offer was declined: 1 s at least, 60 s at most.

    The director offers the same experiment again at once, and without a floor the two would answer each other
    as fast as the network allows.

    Args:
        attempt: Declined offers in a row, from 1.
        rng: Where the chance comes from.
    """
    from fedenvoy.waits import moment, retry_wait  # noqa: PLC0415 - see above

    return retry_wait(rng, first=2.0, cap=60.0, low=0.0, floor=1.0)(moment(attempt=attempt))
