"""How many connections an experiment may have, and how fast it may make them: each costs the aggregator a handshake."""

from __future__ import annotations

__all__ = ["Pace"]

MOST = 64
"""Connections at a time; OpenFL's collaborator has three at most."""
BURST = 2000
"""Connections that may be made at once."""
PER_SECOND = 500.0
"""Connections that may be made for long: OpenFL makes one for every call, and a call for every tensor."""
_FULL = 0.5
"""Seconds until it is looked again whether a connection has ended."""


class Pace:
    """Counts connections.

    Args:
        now: Monotonic seconds.

    """

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._seen = now

    def take(self, open_ones: int, now: float) -> bool:
        """Whether one more connection may be made now; it then counts as made."""
        self._left = min(float(BURST), self._left + (now - self._seen) * PER_SECOND)
        self._seen = now
        if open_ones >= MOST or self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def pause(self, open_ones: int) -> float:
        """Give the seconds until asking again is worth it."""
        return _FULL if open_ones >= MOST else max(0.01, (1.0 - self._left) / PER_SECOND)
