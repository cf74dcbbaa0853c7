"""One end of the service manager's notification socket: a datagram of `NAME=value` lines at a time.

This is the protocol of sd_notify(3), in the standard library's means. Nothing that the other end does can hold the
caller up or raise into it: an agent works as well for a manager that does not listen.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NotifySocket"]

logger = logging.getLogger(__name__)

_LASTING = frozenset({"READY", "STOPPING", "STATUS", "WATCHDOG_USEC"})
"""What is true until something else is said; the rest is about the moment at which it was sent."""


class NotifySocket:
    """Where notifications go. Used by one thread.

    What could not be sent and still holds goes with the next notification.

    Args:
        address: The value of `NOTIFY_SOCKET`: an absolute path, or `@` and a name in the abstract namespace.

    """

    def __init__(self, address: str) -> None:
        self._name = address
        self._address = os.fsencode(address)
        if address.startswith("@"):
            self._address = b"\0" + self._address[1:]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._owed: dict[str, str] = {}
        self._complained = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, fields: Mapping[str, str]) -> bool:
        """Send one notification; give whether it went out.

        Args:
            fields: Values by name; no value may hold a line break.

        """
        fields = {**self._owed, **fields}
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            self._socket.sendto(text.encode("utf-8", "backslashreplace"), self._address)
        except OSError as error:
            self._owed = {name: value for name, value in fields.items() if name in _LASTING}
            self._complain(error)
            return False
        self._owed = {}
        return True

    def _complain(self, error: OSError) -> None:
        """Say once that nobody listens; what is wrong with a manager's socket does not change by itself."""
        level = logging.DEBUG if self._complained else logging.WARNING
        self._complained = True
        reason = error.strerror or str(error)
        logger.log(level, "the service manager does not hear of this node's state: %s: %s", self._name, reason)

    def close(self) -> None:
        """Let go of the socket; harmless when repeated."""
        self._socket.close()
