"""Moves bytes between the two sockets of relayed connections, or keeps, delays or loses them; one thread's property.

Knows sockets and a selector. Who is asked for a fault, and when, is the relay's business.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["End", "Pump", "Weather"]

_PIECE = 256 * 1024
_MOST_HELD = 256
"""Pieces that may be on their way with a delay; then who writes has to wait, as on a long line."""
_CONNECT = 5.0


@dataclass(frozen=True, slots=True)
class Weather:
    """What the line does to bytes at present.

    Attributes:
        moves: Whether anything is read at all.
        lost_up: Whether what clients send is lost.
        lost_down: Whether what the target sends is lost.
        delay: Seconds each piece is on its way.

    """

    moves: bool = True
    lost_up: bool = False
    lost_down: bool = False
    delay: float = 0.0


@dataclass(slots=True, eq=False)
class End:
    """One side of a relayed connection, and what is on its way to it."""

    socket: socket.socket
    client: bool
    other: End | None = None
    held: deque[tuple[float, bytes]] = field(default_factory=deque)
    waiting: bytearray = field(default_factory=bytearray)
    finished: bool = False
    spoiled: bool = False
    """Bytes of this connection were lost: it can only be reset."""


class Pump:
    """All relayed connections.

    Args:
        selector: Where their sockets are watched; each key's data is its `End`.
        clock: Gives monotonic seconds.

    """

    def __init__(self, selector: selectors.BaseSelector, clock: Callable[[], float] = time.monotonic) -> None:
        self._selector = selector
        self._clock = clock
        self._ends: set[End] = set()
        self.weather = Weather()

    @property
    def timeout(self) -> float | None:
        """Seconds until a delayed piece arrives; None: nothing is delayed."""
        due = [end.held[0][0] for end in self._ends if end.held] if self.weather.moves else []
        return max(0.0, min(due) - self._clock()) if due else None

    def join(self, client: socket.socket, target: tuple[str, int]) -> None:
        """Connect a client to the target; where that refuses, the client's connection is closed."""
        try:
            server = socket.create_connection(target, timeout=_CONNECT)
        except OSError:
            client.close()
            return
        near, far = End(client, client=True), End(server, client=False)
        near.other, far.other = far, near
        for end in (near, far):
            end.socket.setblocking(False)
            end.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends.add(end)
            self._rewatch(end)

    def change(self, weather: Weather) -> None:
        """Let the line behave otherwise from now on; connections that lost bytes are reset once none is lost any more.

        A real network that comes back finds that the ways of both ends have parted: it can only end the connection.
        """
        self.weather = weather
        if not (weather.lost_up or weather.lost_down):
            for end in [end for end in self._ends if end.spoiled]:
                self.end(end, reset=True)
        for end in self._ends:
            self._rewatch(end)

    def owns(self, end: object) -> bool:
        """Whether a selector key's data is a connection that still stands."""
        return end in self._ends

    def serve(self, end: End, events: int) -> None:
        """Do what the selector says is possible at one end."""
        other = end.other
        assert other is not None
        try:
            if events & selectors.EVENT_READ:
                self._read(end, other)
            if events & selectors.EVENT_WRITE and end.waiting:
                del end.waiting[: end.socket.send(end.waiting)]
            self._pass_on_the_end(end, other)
        except BlockingIOError:
            pass
        except OSError:
            self.end(end)
            return
        if self._is_over(end, other):
            self.end(end)
            return
        self._rewatch(end)
        self._rewatch(other)

    def arrivals(self) -> None:
        """Let the delayed pieces whose time has come arrive."""
        if not self.weather.moves:
            return
        now = self._clock()
        for end in tuple(self._ends):
            arrived = False
            while end.held and end.held[0][0] <= now:
                end.waiting += end.held.popleft()[1]
                arrived = True
            if arrived:
                self.serve(end, 0)

    def end_all(self, *, reset: bool) -> None:
        """End every connection."""
        for end in tuple(self._ends):
            self.end(end, reset=reset)

    def end(self, end: End, *, reset: bool = False) -> None:
        """End one connection, both its sides."""
        for one in (end, end.other):
            if one is not None and one in self._ends:
                self._ends.discard(one)
                self._watch(one.socket, 0, None)
                if reset:
                    # A close with a linger time of zero sends RST instead of FIN.
                    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.socket.close()

    def _read(self, end: End, other: End) -> None:
        data = end.socket.recv(_PIECE)
        lost = self.weather.lost_up if end.client else self.weather.lost_down
        if lost:
            end.spoiled = other.spoiled = True
            end.finished = not data
        elif not data:
            end.finished = True
        elif self.weather.delay or other.held:
            other.held.append((self._clock() + self.weather.delay, data))
        else:
            other.waiting += data

    @staticmethod
    def _pass_on_the_end(end: End, other: End) -> None:
        for one, another in ((end, other), (other, end)):
            if one.finished and not one.spoiled and not another.waiting and not another.held:
                with contextlib.suppress(OSError):
                    another.socket.shutdown(socket.SHUT_WR)

    @staticmethod
    def _is_over(end: End, other: End) -> bool:
        both = end.finished and other.finished
        return both and not (end.spoiled or end.waiting or other.waiting or end.held or other.held)

    def _rewatch(self, end: End) -> None:
        other = end.other
        assert other is not None
        wanted = 0
        if self.weather.moves and end in self._ends:
            # One piece at a time: who reads slowly is felt by who writes.
            room = not other.waiting and len(other.held) < _MOST_HELD
            wanted |= selectors.EVENT_READ if not end.finished and room else 0
            wanted |= selectors.EVENT_WRITE if end.waiting else 0
        self._watch(end.socket, wanted, end)

    def _watch(self, what: socket.socket, wanted: int, data: End | None) -> None:
        known = what.fileno() in self._selector.get_map()
        if wanted and known:
            self._selector.modify(what, wanted, data)
        elif wanted:
            self._selector.register(what, wanted, data)
        elif known:
            self._selector.unregister(what)
