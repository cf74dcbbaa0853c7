"""Addresses of a host's name. The system's look-up waits, so it has a thread of its own, for one look-up at a time."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fedenvoy.relay.waiting import NOTHING, Wait

if TYPE_CHECKING:
    from fedenvoy.relay.waiting import Step

__all__ = ["Address", "Lookup"]

Address = tuple[socket.AddressFamily, Any]
"""The family and what `connect` takes."""


class Lookup:
    """The addresses of one host and port, anew each time they are wanted.

    Args:
        host: A name or an address.
        port: The port.
        woken: Called in the look-up's thread when it is done.

    """

    def __init__(self, host: str, port: int, woken: Callable[[], None]) -> None:
        self._host = host
        self._port = port
        self._woken = woken
        self._current: _Answer | None = None

    def addresses(self, deadline: float) -> Step[list[Address]]:
        """Give the addresses, in the system's order; raises OSError."""
        if _is_address(self._host):
            return _look_up(self._host, self._port, socket.AI_NUMERICHOST)
        if self._current is None or self._current.done:
            self._current = _Answer(self._host, self._port, self._woken)
        answer = self._current
        while not answer.done:
            if not (yield Wait(NOTHING, 0, deadline)):
                raise TimeoutError("its name is not answered for")
        return answer.addresses()

    def join(self, timeout: float) -> None:
        """Wait for the look-up that is under way; one that takes longer ends unheard."""
        if self._current is not None:
            self._current.join(timeout)


class _Answer:
    """One look-up."""

    def __init__(self, host: str, port: int, woken: Callable[[], None]) -> None:
        self._found: list[Address] | OSError = []
        self.done = False
        arguments = (host, port, woken)
        self._thread = threading.Thread(target=self._run, args=arguments, name="fedenvoy-lookup", daemon=True)
        self._thread.start()

    def addresses(self) -> list[Address]:
        if isinstance(self._found, OSError):
            raise self._found
        return self._found

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self, host: str, port: int, woken: Callable[[], None]) -> None:
        try:
            self._found = _look_up(host, port)
        except OSError as error:
            self._found = error
        except UnicodeError:
            self._found = OSError(f"{host!r} is no name of a host")
        self.done = True
        woken()


def _look_up(host: str, port: int, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
