"""One connection through the relay: first the way to the aggregator is opened, then bytes pass in both directions."""

from __future__ import annotations

import select
import ssl
import time
from typing import TYPE_CHECKING, Protocol

from fedenvoy.relay import words
from fedenvoy.relay.direction import Direction
from fedenvoy.relay.waiting import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedenvoy.relay.sides import Side
    from fedenvoy.relay.waiting import Step, Wait

__all__ = ["Passage", "Watch"]

LONGEST_END = 30.0
"""Seconds without a byte after one side has ended; then the other one is ended, too."""
_ALERT = b"\x15\x03"
"""How TLS complains; HTTP/2 never begins like that."""


class Watch(Protocol):
    """Has the relay's thread look at a descriptor."""

    def __call__(self, descriptor: int, events: int | None, passage: Passage) -> None:
        """Look for these events, and always for a broken connection; None: no longer."""


class Passage:
    """One connection, a part of the relay's thread.

    Args:
        near: The experiment's side.
        opening: The steps that give the aggregator's side; may raise Trouble.
        watch: See `Watch`.
        place: The aggregator, for people.
        told: Called with None when the aggregator says its first word here, with Trouble where it does not.

    """

    def __init__(
        self,
        near: Side,
        opening: Step[Side],
        watch: Watch,
        place: str,
        told: Callable[[words.Trouble | None], None],
    ) -> None:
        self._near = near
        self._far: Side | None = None
        self._opening = opening
        self._watch = watch
        self._place = place
        self._told = told
        self._wait: Wait | None = None
        self._up: Direction | None = None
        self._down: Direction | None = None
        self._heard = False
        self._shut = False
        self._hung: set[int] = set()
        self.deadline: float | None = None
        """When to call `expired`, in monotonic seconds."""
        self.closed = False

    def start(self) -> None:
        """Take the first step."""
        self._watch(self._near.fileno(), 0, self)
        self._step(first=True)

    @property
    def waits_for_lookup(self) -> bool:
        """Whether `ready(NOTHING, 0)` is what it waits for."""
        return self._wait is not None and self._wait.descriptor == NOTHING

    def ready(self, descriptor: int, events: int) -> None:
        """Go on: something happened to a descriptor."""
        if self.closed:
            return
        if self._far is None:
            if descriptor == self._near.fileno():
                self.close()  # nobody waits for the aggregator any more
            elif self._wait is not None and descriptor == self._wait.descriptor:
                self._step()
            return
        if events & (select.EPOLLHUP | select.EPOLLERR):
            self._hung.add(descriptor)
        self._pass()

    def expired(self) -> None:
        """Go on: the deadline has passed."""
        if self._far is None:
            self._step(worth_it=False)
        else:
            self.close()

    def close(self) -> None:
        """Close both sides; harmless when repeated."""
        if self.closed:
            return
        self.closed = True
        self.deadline = None
        self._unwatch_step()
        self._opening.close()
        for side in (self._near, self._far):
            if side is not None:
                self._watch(side.fileno(), None, self)
                side.close()

    def _step(self, *, first: bool = False, worth_it: bool = True) -> None:
        self._unwatch_step()
        try:
            wait = next(self._opening) if first else self._opening.send(worth_it)
        except StopIteration as done:
            self._open(done.value)
        except words.Trouble as trouble:
            self._fail(trouble)
        except OSError as error:
            self._fail(words.Trouble(f"the aggregator at {self._place} cannot be reached: {words.reason(error)}"))
        else:
            self._wait, self.deadline = wait, wait.deadline
            if wait.descriptor != NOTHING:
                self._watch(wait.descriptor, wait.events, self)

    def _unwatch_step(self) -> None:
        if self._wait is not None and self._wait.descriptor != NOTHING:
            self._watch(self._wait.descriptor, None, self)
        self._wait = None

    def _fail(self, trouble: words.Trouble) -> None:
        self._told(trouble)  # first: who sees the end of the connection may ask why
        self.close()

    def _open(self, far: Side) -> None:
        self._far, self.deadline = far, None
        self._up, self._down = Direction(self._near, far), Direction(far, self._near)
        self._pass()

    def _pass(self) -> None:
        """Pass on what there is, and wait for more."""
        assert self._up is not None
        assert self._down is not None
        try:
            moved = self._down.move()
            if self._down.ended and not (self._up.ended or self._near.fileno() in self._hung):
                self._shut = True  # the aggregator ended it, and not the experiment
            moved |= self._up.move()
        except OSError as error:  # one side is gone, so the other one is of no use
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                self._fail(words.complaint(self._place, error))
            else:
                self._over()
            return
        if self._down.first and not self._heard:
            if self._down.first == _ALERT:
                self._fail(words.wants_tls(self._place))
                return
            self._heard = True
            self._told(None)
        if self._up.finished and (self._down.finished or self._near.fileno() in self._hung):
            self._over()  # all was said, and nobody hears what may still come
            return
        if moved or self.deadline is None:
            ending = self._up.ended or self._down.ended or bool(self._hung)
            self.deadline = time.monotonic() + LONGEST_END if ending else None
        self._rewatch()

    def _over(self) -> None:
        assert self._up is not None
        given_up = self._up.ended or self._near.fileno() in self._hung
        if not self._heard and (self._shut or not given_up):
            self._told(words.shut(self._place))
        self.close()

    def _rewatch(self) -> None:
        for one, inward, outward in self._sides():
            events = one.wants
            if not inward.piece and not inward.ended:
                events |= select.EPOLLIN
            if outward.piece or (outward.ended and not outward.finished):
                events |= select.EPOLLOUT
            descriptor = one.fileno()
            # What has hung up is reported without end, so it is looked at only while there is something to do with it.
            self._watch(descriptor, events if events or descriptor not in self._hung else None, self)

    def _sides(self) -> list[tuple[Side, Direction, Direction]]:
        assert self._far is not None
        assert self._up is not None
        assert self._down is not None
        return [(self._near, self._up, self._down), (self._far, self._down, self._up)]
