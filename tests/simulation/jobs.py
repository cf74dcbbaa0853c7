"""Work of the agent's adapters under way: what `app.jobs` does in threads, done by the kernel's queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fedenvoy.events import Message

__all__ = ["Job", "Tell"]


class Job:
    """One piece of work.

    Attributes:
        name: For the trace.
        cancelled: Whether it was given up; its answer is then not posted, unless it was on its way already.
        answered: Whether it has posted its answer.
        done: Whether nothing of it is left.

    """

    __slots__ = ("_on_cancel", "_on_done", "answered", "cancelled", "done", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.cancelled = False
        self.answered = False
        self.done = False
        self._on_cancel: list[Callable[[], object]] = []
        self._on_done: list[Callable[[], object]] = []

    def cancel(self) -> None:
        """Give it up; harmless when repeated."""
        if not self.cancelled:
            self.cancelled = True
            callbacks, self._on_cancel = self._on_cancel, []
            for callback in callbacks:
                callback()

    def abandon(self) -> None:
        """Forget it, as when its process was killed."""
        self.cancelled = True
        self._on_cancel.clear()

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Have something done when it is given up; at once when it was."""
        if self.cancelled:
            callback()
        else:
            self._on_cancel.append(callback)

    def finish(self) -> None:
        """Nothing of it is left."""
        if not self.done:
            self.done = True
            callbacks, self._on_done = self._on_done, []
            for callback in callbacks:
                callback()

    def on_done(self, callback: Callable[[], object]) -> None:
        """Have something done when nothing of it is left; at once when that is so."""
        if self.done:
            callback()
        else:
            self._on_done.append(callback)


class Tell(Protocol):
    """How an adapter tells the owner thread: not, when its job was given up before."""

    def __call__(self, message: Message, job: Job | None = None) -> None: ...
