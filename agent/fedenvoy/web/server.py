"""The HTTP server: four pages, GET and HEAD only, a bounded number of requests at a time, each within a time."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import frozen

from fedenvoy.errors import ConfigurationError

__all__ = ["Page", "WebServer"]

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT = 5.0
"""Seconds in which a client must have asked, and taken each part of the answer."""
AT_ONCE = 8
"""Requests that are answered at the same time; others are told to come again."""
_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})


@frozen
class Page:
    """An answer."""

    content: bytes
    kind: str = "text/plain; charset=utf-8"
    """The content's type."""
    status: HTTPStatus = HTTPStatus.OK


class WebServer:
    """Serves pages from a thread of its own.

    Args:
        host: The address to listen at.
        port: The port; 0: any.
        pages: What makes each page, by path; called in a request's thread.

    Raises:
        ConfigurationError: Nobody can listen there.

    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        try:
            self._server = _Server(host, port, pages)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigurationError(
                f"agent.http.listen: nobody can listen at {host} port {port} ({reason}); choose another port or address"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="web", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more; harmless when repeated."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        self.pages = pages
        self.room = threading.BoundedSemaphore(AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with contextlib.suppress(ValueError):
            self.loopback = ipaddress.ip_address(host).is_loopback
        super().__init__((host, port), _Handler)

    loopback = True
    """Whether only this machine can ask; then a browser on it must not be led here under another name."""

    def server_bind(self) -> None:
        # As the base class does, without its look-up of this machine's name, which may take seconds.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: a client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_TIMEOUT
    server_version = "fedenvoy"
    sys_version = ""
    protocol_version = "HTTP/1.0"  # one request a connection: nothing is left open

    def do_GET(self) -> None:
        """Answer with the page."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer with the page's headers."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        page = self._page()
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if body:
            self.wfile.write(page.content)

    def _page(self) -> Page:
        if self.server.loopback and not _is_local(self.headers.get("Host", "")):
            return Page(b"ask for this node by its address\n", status=HTTPStatus.FORBIDDEN)
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is None:
            known = "\n".join(self.server.pages).encode("ascii")
            return Page(b"there are:\n" + known + b"\n", status=HTTPStatus.NOT_FOUND)
        if not self.server.room.acquire(blocking=False):
            return Page(b"busy; ask again\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            return make()
        except Exception:
            logger.exception("the page %s could not be made", self.path[:100])
            return Page(b"this page could not be made; the log says why\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self.server.room.release()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Keep requests out of the log: a monitoring system asks every few seconds."""


def _is_local(host: str) -> bool:
    """Whether a Host header names this machine itself, by address or as localhost."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]").lower()
    if not name or name in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
