"""What a step of the relay waits for; steps are generators, so that many run in one thread and each reads in order."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["NOTHING", "Step", "Wait"]

T = TypeVar("T")

NOTHING = -1
"""In place of a descriptor: wait until another thread has done something."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait; its answer is whether it was worth it: False when the time was up.

    Attributes:
        descriptor: What to watch, or `NOTHING`.
        events: Of `select.epoll`.
        deadline: Monotonic seconds.

    """

    descriptor: int
    events: int
    deadline: float


Step = Generator[Wait, bool, T]
"""A step that ends with a value."""
