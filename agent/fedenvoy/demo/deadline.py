"""The one deadline of a demo, and the one error it ends in. Knows nothing of what is demonstrated."""

from __future__ import annotations

import time
from collections.abc import Callable

from fedenvoy.errors import FedenvoyError

__all__ = ["Deadline", "DemoError"]


class DemoError(FedenvoyError):
    """The demo cannot go on: one sentence that says what was waited for, or what broke."""


class Deadline:
    """A moment that all steps of a demo share.

    Args:
        seconds: How long the demo may take.
        clock: Gives seconds that only grow.

    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds until the moment; never negative."""
        return max(0.0, self._end - self._clock())

    def check(self, waiting_for: str) -> float:
        """Give the seconds left.

        Raises:
            DemoError: When there are none; it names `waiting_for`.

        """
        if self.left <= 0:
            raise DemoError(f"{self.seconds:g} s were not enough: still waiting for {waiting_for} (see --timeout)")
        return self.left
