"""Virtual time: a queue of what will happen, by time and then by when it was asked for; and one source of chance.

It knows nothing of agents and directors.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["Kernel", "Ticket"]

T = TypeVar("T")


class Ticket:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Let it not happen; harmless when it has."""
        self.action = None


class Kernel:
    """The clock, the queue, the chance and the trace of one history.

    Args:
        seed: Makes the history.
        traced: Whether to keep a trace; it changes nothing else.

    """

    def __init__(self, seed: int, *, traced: bool = False) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.trace: list[str] = []
        self.traced = traced
        self._queue: list[tuple[float, int, Ticket]] = []
        self._asked = 0

    def after(self, delay: float, action: Callable[[], None]) -> Ticket:
        """Let something happen in `delay` seconds."""
        ticket = Ticket(action)
        self._asked += 1
        heapq.heappush(self._queue, (self.now + delay, self._asked, ticket))
        return ticket

    @property
    def next_at(self) -> float | None:
        """When the next thing happens; None when nothing will."""
        queue = self._queue
        while queue and queue[0][2].action is None:
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def happen(self) -> None:
        """Let the next thing happen, at its time."""
        self.now, _, ticket = heapq.heappop(self._queue)
        action, ticket.action = ticket.action, None
        if action is not None:
            action()

    def chance(self, probability: float) -> bool:
        """Throw a coin; an impossible or certain outcome costs no throw."""
        return probability > 0 and (probability >= 1 or self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """Draw seconds."""
        return low + (high - low) * self.rng.random()

    def pick(self, choices: Sequence[T]) -> T:
        """Draw one of several."""
        return choices[int(self.rng.random() * len(choices))]

    def log(self, who: str, text: str, *values: object) -> None:
        """Write a line of the trace; nothing is formatted where none is kept."""
        if self.traced:
            self.trace.append(f"{self.now:12.6f}  {who:9} {text % values if values else text}")
