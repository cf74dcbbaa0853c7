"""A TCP port that stays ours while nothing listens on it."""

from __future__ import annotations

import socket

__all__ = ["ReservedPort", "listener"]


class ReservedPort:
    """Keeps a port reserved: connections are refused while nobody listens, and nobody else gets it.

    A server on the same port must set SO_REUSEPORT, as gRPC's do.

    Args:
        host: The address, IPv4 or IPv6.
        port: The port; 0 takes a free one.

    """

    def __init__(self, host: str, port: int = 0) -> None:
        self._socket = _bound(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Let go of the port; harmless when repeated."""
        self._socket.close()


def listener(host: str, port: int, backlog: int = 64) -> socket.socket:
    """Give a socket that listens on a reserved port."""
    bound = _bound(host, port)
    bound.listen(backlog)
    return bound


def _bound(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
