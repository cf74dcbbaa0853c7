"""Many clients of a listening unix socket, served by one thread that waits for none of them.

Who does not ask, or does not take its answer, in time is dropped; so is the first of too many. Knows lines and answers,
and not what is asked for.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fedenvoy.control.peers import Admission, Peer, PeerError
from fedenvoy.control.protocol import REQUEST_LIMIT, refusal

__all__ = ["MOST_CLIENTS", "Clients"]

logger = logging.getLogger(__name__)

MOST_CLIENTS = 32
"""Clients served at a time; a further one takes the place of the one that came first."""
_BREATH = 0.2
"""Seconds to wait after a connection could not be taken."""


@dataclass(slots=True, eq=False)
class _Client:
    """One connection: it asks, and then it takes its answer."""

    socket: socket.socket
    deadline: float
    peer: Peer | None = None
    asked: bytearray = field(default_factory=bytearray)
    answer: memoryview | None = None


class Clients:
    """All connections of a socket. Used by one thread alone.

    Args:
        listener: The listening socket, not blocking.
        waking: Readable when the work is to end.
        answer: Gives the answer to one line, and to whom it goes; returns at once and raises nothing.
        time_limit: Seconds in which a client must have asked and taken its answer.
        admission: Who may ask.

    """

    def __init__(
        self,
        listener: socket.socket,
        waking: socket.socket,
        answer: Callable[[bytes, Peer], bytes],
        time_limit: float,
        admission: Admission,
    ) -> None:
        self._listener = listener
        self._waking = waking
        self._answer = answer
        self._time_limit = time_limit
        self._admission = admission
        self._clients: dict[_Client, None] = {}
        self._selector = selectors.DefaultSelector()
        self._turned_away = False

    def serve(self) -> None:
        """Work until woken; every connection is closed then."""
        with self._selector:
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._selector.register(self._waking, selectors.EVENT_READ)
            try:
                while self._turn():
                    pass
            finally:
                self._drop_all()

    def _turn(self) -> bool:
        """Sleep until something happens, and do it; tell whether to go on."""
        for key, _ in self._selector.select(self._patience()):
            if key.fileobj is self._waking:
                return False
            if key.fileobj is self._listener:
                self._take()
            elif key.data in self._clients:  # a newcomer of this turn may have taken its place
                self._serve(key.data)
        now = time.monotonic()
        for client in [client for client in self._clients if client.deadline <= now]:
            self._drop(client)
        return True

    def _patience(self) -> float | None:
        """Give the seconds until the first deadline; None where nobody is there."""
        if not self._clients:
            return None
        return max(0.0, min(client.deadline for client in self._clients) - time.monotonic())

    def _take(self) -> None:
        """Take a connection."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:  # no descriptor is left, most likely
            if not self._turned_away:
                logger.warning("clients of the control socket cannot be taken: %s", error)
            self._turned_away = True
            self._drop_all()
            time.sleep(_BREATH)
            return
        self._turned_away = False
        while len(self._clients) >= MOST_CLIENTS:
            self._drop(next(iter(self._clients)))
        connection.setblocking(False)
        client = _Client(connection, time.monotonic() + self._time_limit)
        self._clients[client] = None
        self._selector.register(connection, selectors.EVENT_READ, client)
        try:
            client.peer = self._admission.admit(connection)
        except (PeerError, OSError) as error:
            self._reply(client, refusal(str(error)))

    def _serve(self, client: _Client) -> None:
        """Go on with a client whose connection is ready."""
        with self._dropped_when_gone(client):
            if client.answer is None:
                self._receive(client)
            else:
                self._send(client)

    def _receive(self, client: _Client) -> None:
        received = client.socket.recv(REQUEST_LIMIT)
        client.asked += received
        line, end, _ = bytes(client.asked).partition(b"\n")
        if end and len(line) < REQUEST_LIMIT:
            assert client.peer is not None, "who is not let in has its answer already"
            self._reply(client, self._answer(line, client.peer))
        elif len(client.asked) >= REQUEST_LIMIT:
            self._reply(client, refusal(f"the request is longer than {REQUEST_LIMIT} bytes"))
        elif not received and client.asked:
            self._reply(client, refusal("the request does not end with a line end"))
        elif not received:
            self._drop(client)

    def _reply(self, client: _Client, answer: bytes) -> None:
        client.answer = memoryview(answer)
        self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
        with self._dropped_when_gone(client):
            self._send(client)

    def _send(self, client: _Client) -> None:
        """Send what the connection takes; when the answer is out, it is over."""
        assert client.answer is not None
        client.answer = client.answer[client.socket.send(client.answer) :]
        if not client.answer:
            self._drop(client)

    @contextlib.contextmanager
    def _dropped_when_gone(self, client: _Client) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            pass  # not ready after all
        except OSError:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if client in self._clients:
            del self._clients[client]
            self._selector.unregister(client.socket)
            client.socket.close()

    def _drop_all(self) -> None:
        for client in list(self._clients):
            self._drop(client)
