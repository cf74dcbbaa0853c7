"""A small TCP relay, to take a network apart between two real peers: cut, freeze, reset, restore."""

from __future__ import annotations

import contextlib
import enum
import selectors
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedenvoy.config import DirectorAddress
from fedenvoy.testing.ports import ReservedPort, listener

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Relay"]

_PIECE = 256 * 1024


class _Mode(enum.Enum):
    OPEN = "open"
    CUT = "cut"
    FROZEN = "frozen"


@dataclass(slots=True, eq=False)
class _End:
    """One side of a relayed connection, and what waits to be written to it."""

    socket: socket.socket
    other: _End | None = None
    waiting: bytearray = field(default_factory=bytearray)
    finished: bool = False


class Relay:
    """Relays TCP connections to one target, from one thread of its own; use it as a context manager.

    Args:
        target_host: Where connections go.
        target_port: Where connections go.
        host: The IPv4 address to listen on.

    """

    def __init__(self, target_host: str, target_port: int, host: str = "127.0.0.1") -> None:
        self._target = (target_host, target_port)
        self._reserved = ReservedPort(host)
        self._lock = threading.Lock()
        self._mode = _Mode.CUT
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_in.setblocking(False)
        self._listener: socket.socket | None = None
        self._ends: set[_End] = set()
        self._stopping = False
        self._accepted = 0
        self._commands: list[tuple[_Mode | None, threading.Event]] = []
        self._thread = threading.Thread(target=self._run, name="fedenvoy-relay", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def address(self) -> DirectorAddress:
        """Give the address to connect to instead of the target's."""
        return DirectorAddress(self._reserved.host, self._reserved.port)

    @property
    def accepted(self) -> int:
        """Give the number of connections taken so far."""
        with self._lock:
            return self._accepted

    def start(self) -> None:
        """Begin to relay."""
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._thread.start()
        self.restore()

    def stop(self) -> None:
        """Close everything and wait for the thread; harmless when repeated."""
        with self._lock:
            self._stopping = True
        if self._thread.is_alive():
            self._wake_out.send(b"x")
            self._thread.join()
        for resource in (self._wake_in, self._wake_out, self._selector, self._reserved):
            resource.close()

    def cut(self) -> None:
        """End all connections and refuse new ones: the peer's process is gone, its machine is there."""
        self._command(_Mode.CUT)

    def freeze(self) -> None:
        """Move no more bytes, but keep all connections and let the system take new ones: a half-open link."""
        self._command(_Mode.FROZEN)

    def reset_all(self) -> None:
        """Reset the present connections (RST), and take new ones as before."""
        self._command(None)

    def restore(self) -> None:
        """Relay again; what was frozen goes on."""
        self._command(_Mode.OPEN)

    def _command(self, mode: _Mode | None) -> None:
        done = threading.Event()
        with self._lock:
            self._commands.append((mode, done))
        self._wake_out.send(b"x")
        if not done.wait(5):
            raise RuntimeError("the relay is not running")

    # What follows runs in the relay's thread.

    def _run(self) -> None:
        while not self._stopping:
            for key, events in self._selector.select():
                if key.fileobj is self._wake_in:
                    self._obey()
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._ends and self._mode is _Mode.OPEN:
                    self._serve(key.data, events)
        self._set_listening(False)
        self._end_all(reset=False)

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(1024)
        with self._lock:
            commands, self._commands = self._commands, []
        for mode, done in commands:
            if mode is None:
                self._end_all(reset=True)
            else:
                self._mode = mode
                # Frozen, the socket goes on listening and is not served: the system completes the handshakes.
                self._set_listening(mode is not _Mode.CUT)
                if mode is _Mode.CUT:
                    self._end_all(reset=False)
                self._watch_all()
            done.set()

    def _set_listening(self, wanted: bool) -> None:
        if wanted and self._listener is None:
            self._listener = listener(self._reserved.host, self._reserved.port)
            self._listener.setblocking(False)
        elif not wanted and self._listener is not None:
            self._watch(self._listener, 0, None)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            with self._lock:
                self._accepted += 1
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                return
            near, far = _End(client), _End(server)
            near.other, far.other = far, near
            for end in (near, far):
                end.socket.setblocking(False)
                end.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends.add(end)
                self._rewatch(end)

    def _serve(self, end: _End, events: int) -> None:
        other = end.other
        assert other is not None
        try:
            if events & selectors.EVENT_READ:
                data = end.socket.recv(_PIECE)
                end.finished = not data
                other.waiting += data
            if events & selectors.EVENT_WRITE and end.waiting:
                del end.waiting[: end.socket.send(end.waiting)]
            for one, another in ((end, other), (other, end)):
                if one.finished and not another.waiting:
                    another.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._end(end)
            return
        if end.finished and other.finished and not end.waiting and not other.waiting:
            self._end(end)
            return
        self._rewatch(end)
        self._rewatch(other)

    def _rewatch(self, end: _End) -> None:
        assert end.other is not None
        wanted = 0
        if self._mode is _Mode.OPEN:
            # One piece at a time: who reads slowly is felt by who writes.
            wanted |= selectors.EVENT_READ if not end.finished and not end.other.waiting else 0
            wanted |= selectors.EVENT_WRITE if end.waiting else 0
        self._watch(end.socket, wanted, end)

    def _watch_all(self) -> None:
        if self._listener is not None:
            self._watch(self._listener, selectors.EVENT_READ if self._mode is _Mode.OPEN else 0, None)
        for end in self._ends:
            self._rewatch(end)

    def _watch(self, what: socket.socket, wanted: int, data: _End | None) -> None:
        known = what.fileno() in self._selector.get_map()
        if wanted and known:
            self._selector.modify(what, wanted, data)
        elif wanted:
            self._selector.register(what, wanted, data)
        elif known:
            self._selector.unregister(what)

    def _end_all(self, *, reset: bool) -> None:
        for end in tuple(self._ends):
            self._end(end, reset=reset)

    def _end(self, end: _End, *, reset: bool = False) -> None:
        for one in (end, end.other):
            if one is not None and one in self._ends:
                self._ends.discard(one)
                self._watch(one.socket, 0, None)
                if reset:
                    # A close with a linger time of zero sends RST instead of FIN.
                    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.socket.close()
