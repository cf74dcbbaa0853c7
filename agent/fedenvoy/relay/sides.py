"""The two kinds of connection between which bytes are passed: plain, and with TLS. Neither ever waits.

With TLS the work is done in memory, apart from the socket, so that the end of one direction can be told to the peer
without disturbing the other one.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from typing import Protocol

__all__ = ["PIECE", "Plain", "Side", "Tls"]

PIECE = 256 * 1024
"""Bytes that are read at a time, and the most that are on their way in each direction."""
_RECORD = 16 * 1024 + 512
"""Bytes of the largest record of TLS, and a little."""


class Side(Protocol):
    """One side of a connection."""

    def fileno(self) -> int:
        """Give the descriptor to watch."""

    def receive(self) -> memoryview | None:
        """Give what has come, until the next call; empty at the end, None where nothing has come yet."""

    def send(self, data: memoryview) -> int:
        """Take some of it, and tell how much; raises OSError where the peer is gone."""

    def finish(self) -> bool:
        """Tell the peer that no more comes; False: call again when the peer has taken what came before."""

    @property
    def wants(self) -> int:
        """The events that this side itself waits for."""

    def close(self) -> None:
        """Close it; harmless when repeated."""


class Plain:
    """A socket as it is.

    Args:
        connection: Non-blocking; closed with this.
        begun: What was read from it already.

    """

    wants = 0

    def __init__(self, connection: socket.socket, begun: bytes = b"") -> None:
        self._socket = connection
        self._begun = begun
        self._buffer = memoryview(bytearray(PIECE))

    def fileno(self) -> int:
        """Give the descriptor to watch."""
        return self._socket.fileno()

    def receive(self) -> memoryview | None:
        """Give what has come."""
        if self._begun:
            begun, self._begun = memoryview(self._begun), b""
            return begun
        try:
            return self._buffer[: self._socket.recv_into(self._buffer)]
        except BlockingIOError:
            return None

    def send(self, data: memoryview) -> int:
        """Take some of it."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def finish(self) -> bool:
        """Tell the peer that no more comes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        return True

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class Tls:
    """A socket with TLS, whose handshake is over.

    Args:
        connection: Non-blocking; closed with this.
        session: The TLS session in memory.
        incoming: Where it reads.
        outgoing: Where it writes.

    """

    def __init__(
        self, connection: socket.socket, session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        self._socket = connection
        self._session = session
        self._incoming = incoming
        self._outgoing = outgoing
        self._leaving = memoryview(b"")
        self._told = False
        self._coded = memoryview(bytearray(PIECE))
        self._buffer = bytearray(PIECE + 2 * _RECORD)

    def fileno(self) -> int:
        """Give the descriptor to watch."""
        return self._socket.fileno()

    @property
    def wants(self) -> int:
        """Room for what is encrypted already."""
        return select.EPOLLOUT if self._leaving or self._outgoing.pending else 0

    def receive(self) -> memoryview | None:
        """Give what has come; raises ssl.SSLError where the peer complains."""
        size, over = self._decrypted()  # the handshake may have brought more than itself
        while not size and not over:
            try:
                count = self._socket.recv_into(self._coded)
            except BlockingIOError:
                return None
            if count:
                self._incoming.write(self._coded[:count])
            else:
                self._incoming.write_eof()
            size, over = self._decrypted()
        with contextlib.suppress(OSError):  # an answer of TLS itself; where it cannot leave, `send` will tell
            self.flush()
        return memoryview(self._buffer)[:size]

    def _decrypted(self) -> tuple[int, bool]:
        """Decrypt all that is there; give its size, and whether it was the last."""
        view, size = memoryview(self._buffer), 0
        try:
            while count := int(self._session.read(len(view) - size, view[size:])):
                size += count
        except ssl.SSLWantReadError:
            return size, False
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        return size, True

    def send(self, data: memoryview) -> int:
        """Take a piece once the one before has left."""
        if not self.flush():
            return 0
        taken = self._session.write(data[:PIECE])
        self.flush()
        return taken

    def flush(self) -> bool:
        """Send what is encrypted; tell whether all of it has left."""
        while self._leaving or self._outgoing.pending:
            if not self._leaving:
                self._leaving = memoryview(self._outgoing.read())
            try:
                self._leaving = self._leaving[self._socket.send(self._leaving) :]
            except BlockingIOError:
                return False
        return True

    def finish(self) -> bool:
        """Tell the peer that no more comes; what it still sends can be read."""
        if not self._told:
            self._told = True
            with contextlib.suppress(OSError):  # it wants the peer's answer, which comes when it comes
                self._session.unwrap()
        try:
            if not self.flush():
                return False
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Close it."""
        self._socket.close()
