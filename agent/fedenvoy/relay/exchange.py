"""What the relay's thread does: takes connections, looks after those that stand, and waits for all of them at once.

`epoll` and not `selectors`: a connection that is not to be read at present is still watched for its end.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import time
from typing import TYPE_CHECKING

from fedenvoy.relay.pace import Pace
from fedenvoy.relay.passage import Passage
from fedenvoy.relay.sides import Plain
from fedenvoy.relay.waiting import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedenvoy.relay.sides import Side
    from fedenvoy.relay.waiting import Step
    from fedenvoy.relay.words import Trouble

__all__ = ["Exchange"]

logger = logging.getLogger(__name__)

_NO_DESCRIPTORS = 1.0
"""Seconds until the next try, when this process may open no more files."""


class Exchange:
    """All connections of one relay; one thread's property.

    Args:
        listener: Where experiments connect; non-blocking.
        wake: Becomes readable when `serve` is to look around; non-blocking.
        opening: Begins the steps to a connection with the aggregator.
        place: The aggregator, for people.
        told: See `Passage`.

    """

    def __init__(
        self,
        listener: socket.socket,
        wake: socket.socket,
        opening: Callable[[], Step[Side]],
        place: str,
        told: Callable[[Trouble | None], None],
    ) -> None:
        self._listener = listener
        self._wake = wake
        self._opening = opening
        self._place = place
        self._told = told
        self._poll = select.epoll()
        self._watched: dict[int, tuple[int, Passage]] = {}
        self._standing: set[Passage] = set()
        self._pace = Pace(time.monotonic())
        self._resume: float | None = None
        for descriptor in (listener, wake):
            self._poll.register(descriptor, select.EPOLLIN)

    def serve(self) -> None:
        """Wait until something happens, and do what is to be done."""
        for descriptor, events in self._poll.poll(self._timeout()):
            if descriptor == self._wake.fileno():
                self._woken()
            elif descriptor == self._listener.fileno():
                self._accept()
            elif descriptor in self._watched:
                self._watched[descriptor][1].ready(descriptor, events)
        now = time.monotonic()
        for passage in [one for one in self._standing if one.deadline is not None and one.deadline <= now]:
            passage.expired()
        self._standing = {one for one in self._standing if not one.closed}
        if self._resume is not None and self._resume <= now:
            self._resume = None
            self._poll.register(self._listener, select.EPOLLIN)

    def close(self) -> None:
        """End every connection."""
        for passage in self._standing:
            passage.close()
        self._poll.close()

    def _timeout(self) -> float | None:
        times = [one.deadline for one in self._standing if one.deadline is not None]
        times += [] if self._resume is None else [self._resume]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(1024)
        for passage in tuple(self._standing):
            if passage.waits_for_lookup:
                passage.ready(NOTHING, 0)

    def _accept(self) -> None:
        now = time.monotonic()
        if not self._pace.take(len(self._standing), now):
            self._pause(now + self._pace.pause(len(self._standing)))
            return
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            logger.warning("the relay cannot take a connection: %s", error.strerror or error)
            self._pause(now + _NO_DESCRIPTORS)
            return
        connection.setblocking(False)
        passage = Passage(Plain(connection), self._opening(), self._watch, self._place, self._told)
        self._standing.add(passage)
        passage.start()

    def _pause(self, until: float) -> None:
        self._poll.unregister(self._listener)
        self._resume = until

    def _watch(self, descriptor: int, events: int | None, passage: Passage) -> None:
        known = self._watched.get(descriptor)
        if events is None:
            if known is not None:
                del self._watched[descriptor]
                self._poll.unregister(descriptor)
        elif known is None:
            self._watched[descriptor] = (events, passage)
            self._poll.register(descriptor, events)
        elif known[0] != events:
            self._watched[descriptor] = (events, passage)
            self._poll.modify(descriptor, events)
