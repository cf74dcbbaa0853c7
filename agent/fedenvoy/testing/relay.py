"""A small TCP relay, to take a network apart between two real peers: cut, freeze, swallow, delay, refuse, restore."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from fedenvoy.config import DirectorAddress
from fedenvoy.testing.ports import ReservedPort, listener
from fedenvoy.testing.pump import End, Pump, Weather

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Relay"]


class Relay:
    """Relays TCP connections to one target, from one thread of its own; use it as a context manager.

    Each fault replaces the one before; `restore` ends it.

    Args:
        target_host: Where connections go.
        target_port: Where connections go.
        host: The IPv4 address to listen on.

    """

    def __init__(self, target_host: str, target_port: int, host: str = "127.0.0.1") -> None:
        self._target = (target_host, target_port)
        self._reserved = ReservedPort(host)
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._pump = Pump(self._selector)
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_in.setblocking(False)
        self._listener: socket.socket | None = None
        self._stopping = False
        self._accepted = 0
        self._commands: list[tuple[Callable[[], None], threading.Event]] = []
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

        def change() -> None:
            self._listen(wanted=False)
            self._pump.end_all(reset=False)

        self._command(change)

    def refuse(self) -> None:
        """Refuse new connections; the present ones go on, as behind a firewall whose rules have changed."""
        self._command(lambda: self._set(Weather(), listening=False))

    def freeze(self) -> None:
        """Move no more bytes, but keep all connections and let the system take new ones: a half-open link.

        Nothing is lost: `restore` lets the bytes go on their way, as when a stopped process is continued.
        """
        self._command(lambda: self._set(Weather(moves=False)))

    def swallow(self, *, requests: bool = True, replies: bool = True) -> None:
        """Take everything and pass nothing on: a half-open link whose packets vanish.

        Neither side sees an error. Once restored, the connections that lost bytes are reset, as in a real network.

        Args:
            requests: Whether what clients send vanishes.
            replies: Whether what the target answers vanishes; alone, the target does what it is asked, unheard.

        """
        self._command(lambda: self._set(Weather(lost_up=requests, lost_down=replies)))

    def delay(self, seconds: float) -> None:
        """Let every byte be on its way for so long, in each direction."""
        self._command(lambda: self._set(Weather(delay=seconds)))

    def reset_all(self) -> None:
        """Reset the present connections (RST), and take new ones as before."""
        self._command(lambda: self._pump.end_all(reset=True))

    def restore(self) -> None:
        """Relay again; what was frozen or delayed goes on, what lost bytes is reset."""
        self._command(lambda: self._set(Weather()))

    def _command(self, change: Callable[[], None]) -> None:
        done = threading.Event()
        with self._lock:
            self._commands.append((change, done))
        self._wake_out.send(b"x")
        if not done.wait(5):
            raise RuntimeError("the relay is not running")

    # What follows runs in the relay's thread.

    def _run(self) -> None:
        while not self._stopping:
            for key, events in self._selector.select(self._pump.timeout):
                if key.fileobj is self._wake_in:
                    self._obey()
                elif key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, End) and self._pump.owns(key.data) and self._pump.weather.moves:
                    self._pump.serve(key.data, events)
            self._pump.arrivals()
        self._listen(wanted=False)
        self._pump.end_all(reset=False)

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(1024)
        with self._lock:
            commands, self._commands = self._commands, []
        for change, done in commands:
            change()
            done.set()

    def _set(self, weather: Weather, *, listening: bool = True) -> None:
        self._listen(wanted=listening, served=weather.moves)
        self._pump.change(weather)

    def _listen(self, *, wanted: bool, served: bool = True) -> None:
        """Listen or not; where nothing is to move, the socket listens unserved: the system completes the handshakes."""
        if self._listener is not None:
            if self._listener.fileno() in self._selector.get_map():
                self._selector.unregister(self._listener)
            if not wanted:
                self._listener.close()
                self._listener = None
        if wanted:
            if self._listener is None:
                self._listener = listener(self._reserved.host, self._reserved.port)
                self._listener.setblocking(False)
            if served:
                self._selector.register(self._listener, selectors.EVENT_READ)

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            with self._lock:
                self._accepted += 1
            self._pump.join(client, self._target)
