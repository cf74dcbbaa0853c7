"""What looking at an experiment's pickles may cost, for all of them together."""

from __future__ import annotations

import time
from typing import NoReturn

__all__ = ["Budget", "Spent"]


class Spent(Exception):  # noqa: N818 - not an error: there was more than is looked at
    """The budget is used up."""


class Budget:
    """What an inspection may cost, for all its pickles together.

    Args:
        steps: Opcodes.
        seconds: Time from now, of this thread's own: on a busy machine as much is seen as on another.

    """

    def __init__(self, steps: int, seconds: float) -> None:
        self._steps = steps
        self._end = time.thread_time() + seconds
        self.spent = ""
        """Why no more is looked at; empty as long as there is something left."""

    def step(self) -> None:
        """Count one opcode; raises Spent when it is one too many."""
        self._steps -= 1
        if self._steps < 0:
            self._raise("it has more opcodes than are looked at")
        if self._steps % 4096 == 0:
            self.check()

    def check(self) -> None:
        """Raise Spent when the time is over."""
        if time.thread_time() > self._end:
            self._raise("the time for looking at it was over")

    def _raise(self, why: str) -> NoReturn:
        self.spent = why
        raise Spent(why)
