"""From an address to a connection: TCP, and an HTTP proxy where there is one. Each step yields what it waits for."""

from __future__ import annotations

import base64
import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from fedenvoy.relay.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedenvoy.proxies import Proxy
    from fedenvoy.relay.lookup import Address
    from fedenvoy.relay.waiting import Step

__all__ = ["connected", "tunnel"]

_EACH = 5.0
"""Seconds for one of several addresses; the last one has all the time that is left."""
_LONGEST_ANSWER = 16 * 1024
_PENDING = frozenset({errno.EINPROGRESS, errno.EAGAIN, errno.EALREADY, errno.EINTR})


def connected(addresses: Sequence[Address], deadline: float) -> Step[socket.socket]:
    """Connect to the first address that takes it; raises OSError."""
    failure: OSError = OSError("its name has no address")
    for left, (family, address) in zip(reversed(range(len(addresses))), addresses, strict=True):
        limit = min(deadline, time.monotonic() + _EACH) if left else deadline
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            code = connection.connect_ex(address)
            if code in _PENDING:
                if not (yield Wait(connection.fileno(), select.EPOLLOUT, limit)):
                    raise TimeoutError("no answer")
                code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def tunnel(connection: socket.socket, host: str, port: int, proxy: Proxy, deadline: float) -> Step[bytes]:
    """Have a proxy connect to a host; give what the host said already. Raises OSError."""
    name = f"[{host}]" if ":" in host else host
    lines = [f"CONNECT {name}:{port} HTTP/1.1", f"Host: {name}:{port}"]
    if proxy.credentials:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(proxy.credentials.encode()).decode('ascii')}")
    request = "\r\n".join((*lines, "", "")).encode("latin-1", "replace")
    connection.send(request)  # a new connection has room for it
    answer = b""
    while b"\r\n\r\n" not in answer:
        if not (yield Wait(connection.fileno(), select.EPOLLIN, deadline)):
            raise TimeoutError(f"the proxy {proxy.server} does not answer")
        said = connection.recv(_LONGEST_ANSWER)
        answer += said
        if not said or len(answer) > _LONGEST_ANSWER:
            raise ConnectionError(f"the proxy {proxy.server} does not answer as an HTTP proxy does")
    head, _, rest = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode("latin-1")
    _, _, code = status.partition(" ")
    if not (status.startswith("HTTP/1.") and code.startswith("2")):
        raise ConnectionError(f"the proxy {proxy.server} answers {status[:100]!r}")
    return rest
