"""The relay of one run: its socket, its thread, and what it has to say about the aggregator."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from fedenvoy.proxies import proxy_for
from fedenvoy.relay.dialling import connected, tunnel
from fedenvoy.relay.exchange import Exchange
from fedenvoy.relay.handshake import context, encrypted
from fedenvoy.relay.listening import listening
from fedenvoy.relay.lookup import Lookup
from fedenvoy.relay.sides import Plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from typing_extensions import Self

    from fedenvoy.config import TlsFiles
    from fedenvoy.relay.sides import Side
    from fedenvoy.relay.waiting import Step
    from fedenvoy.relay.words import Trouble

__all__ = ["AggregatorRelay"]

logger = logging.getLogger(__name__)

LONGEST_OPENING = 20.0
"""Seconds for a connection to the aggregator to come about; gRPC gives up then, too."""
_LOOKUP_GRACE = 0.5
_QUIET = 10.0
"""Seconds from one line of the log to the next: an experiment must not be able to fill it with its connections."""


class AggregatorRelay:
    """Passes bytes between a unix socket and one address; use it as a context manager, for the length of a run.

    Args:
        path: The socket to make; its directory exists. Removed at the end.
        host: The aggregator's name or address, without brackets.
        port: Its port.
        tls: The files of mutual TLS; None: plain text.
        client_auth: Whether this node's certificate is shown.
        owner: User and group that may connect; None: this process's.
        environ: The variables that may name a proxy, as gRPC reads them; None: this process's.
        on_fault: Called once, in the relay's thread, with a sentence, when somebody has to mend something before a
            first connection can come about. Once one has, every trouble is waited out.

    """

    def __init__(
        self,
        path: Path,
        host: str,
        port: int,
        *,
        tls: TlsFiles | None = None,
        client_auth: bool = True,
        owner: tuple[int, int] | None = None,
        environ: Mapping[str, str] | None = None,
        on_fault: Callable[[str], None] = lambda _words: None,
    ) -> None:
        self._path = path
        self._where = (host, port)
        self._place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._tls = tls
        self._client_auth = client_auth
        self._owner = owner
        self._proxy = proxy_for(host, os.environ if environ is None else environ)
        self._on_fault = on_fault
        self._heard = False
        self._faulty = False
        self._stopping = False
        self._trouble = ""
        self._quiet_until = 0.0
        self._thread: threading.Thread | None = None
        self._resources = contextlib.ExitStack()
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken):
            end.setblocking(False)
            self._resources.callback(end.close)
        dialled = self._where if self._proxy is None else (self._proxy.host, self._proxy.port)
        self._lookup = Lookup(*dialled, self._wake)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def trouble(self) -> str:
        """What is wrong with the aggregator at present, in a sentence; empty when it was heard last."""
        return self._trouble

    def start(self) -> None:
        """Begin to take connections.

        Raises:
            OSError: The socket cannot be made.

        """
        try:
            listener = listening(self._path, self._owner)
        except BaseException:
            self._resources.close()
            raise
        self._resources.callback(listener.close)
        self._resources.callback(self._path.unlink, missing_ok=True)
        exchange = Exchange(listener, self._woken, self._opening, self._place, self._told)
        self._resources.callback(exchange.close)
        self._thread = threading.Thread(
            target=self._run, args=(exchange,), name="fedenvoy-aggregator-relay", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End every connection, at once, and remove the socket; harmless when repeated."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping = True
        self._wake()
        thread.join()
        self._lookup.join(_LOOKUP_GRACE)
        with contextlib.suppress(OSError):
            self._resources.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    # What follows runs in the relay's thread.

    def _run(self, exchange: Exchange) -> None:
        try:
            while not self._stopping:
                exchange.serve()
        except Exception:
            logger.exception("the relay to the aggregator at %s failed", self._place)
            self._fault(f"the relay to the aggregator at {self._place} failed; the log of this node says why")

    def _opening(self) -> Step[Side]:
        """Take the steps to the aggregator, and be it by way of a proxy."""
        deadline = time.monotonic() + LONGEST_OPENING
        host, port = self._where
        made = None if self._tls is None else context(self._tls, client_auth=self._client_auth)
        addresses = yield from self._lookup.addresses(deadline)
        connection = yield from connected(addresses, deadline)
        try:
            begun = b""
            if self._proxy is not None:
                begun = yield from tunnel(connection, host, port, self._proxy, deadline)
            if made is None:
                return Plain(connection, begun)
            return (yield from encrypted(connection, begun, made, host, place=self._place, deadline=deadline))
        except BaseException:
            connection.close()
            raise

    def _told(self, trouble: Trouble | None) -> None:
        """Take note of how a connection went; tell what is new, and end the run where it cannot begin."""
        said = "" if trouble is None else str(trouble)
        if said != self._trouble:
            self._trouble = said
            self._log()
        if trouble is None:
            self._heard = True
        elif trouble.lasting and not self._heard:
            self._fault(said)

    def _log(self) -> None:
        now = time.monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + _QUIET
        if self._trouble:
            logger.warning("%s", self._trouble)
        else:
            logger.info("the aggregator at %s answers again", self._place)

    def _fault(self, words: str) -> None:
        if not self._faulty:
            self._faulty = True
            self._on_fault(words)
