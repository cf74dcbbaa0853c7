"""Aggregators for the tests of the relay: real gRPC servers with and without TLS, and bare sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from fedenvoy.config import TlsFiles
from fedenvoy.relay import AggregatorRelay
from fedenvoy.relay.sides import Side
from fedenvoy.relay.waiting import Step
from fedenvoy.testing.certs import Pem

METHOD = "/openfl.aggregator.Aggregator/GetTasks"
LARGE = [("grpc.max_send_message_length", 2**30), ("grpc.max_receive_message_length", 2**30)]


@contextmanager
def aggregator(
    tls: Pem | None = None,
    *,
    port: int = 0,
    client_auth: bool = True,
    answer: Callable[[bytes, grpc.ServicerContext], bytes] | None = None,
) -> Iterator[int]:
    """Serve one method on this machine; give the port. The usual answer is who called."""
    handler: Any = grpc.unary_unary_rpc_method_handler(answer or caller)
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool, options=LARGE)
    service = grpc.method_handlers_generic_handler(METHOD.split("/")[1], {"GetTasks": handler})
    server.add_generic_rpc_handlers((service,))
    if tls is None:
        port = server.add_insecure_port(f"localhost:{port}")
    else:
        pair = [(tls.private_key, tls.certificate)]
        root = tls.root_certificate if client_auth else None
        port = server.add_secure_port(f"localhost:{port}", grpc.ssl_server_credentials(pair, root, client_auth))
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
        pool.shutdown()


def caller(_request: bytes, context: grpc.ServicerContext) -> bytes:
    """Give the common name that the caller's certificate is made out for."""
    names: Any = context.auth_context().get("x509_common_name", [b"nobody"])
    return bytes(names[0])


def call(path: Path, port: int, request: bytes = b"", *, timeout: float = 20.0, wait: bool = False) -> bytes:
    """Call through a relay's socket, without TLS; with `wait` until somebody is there."""
    options = [("grpc.default_authority", f"localhost:{port}"), ("grpc.use_local_subchannel_pool", 1), *LARGE]
    with grpc.insecure_channel(f"unix:{path}", options=options) as channel:
        ask: Any = channel.unary_unary(METHOD)
        return bytes(ask(request, timeout=timeout, wait_for_ready=wait))


@contextmanager
def bare(serve: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Have each connection served by a function in a thread of its own; give the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection:
            if tls is None:
                serve(connection)
            else:
                with tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as encrypted:
                    serve(encrypted)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=one, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join()


def read_all(connection: socket.socket) -> bytes:
    """Read to the end."""
    return b"".join(iter(lambda: connection.recv(2**20), b""))


def dial(path: Path) -> socket.socket:
    """Connect to a relay's socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(path))
    return connection


GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a client of HTTP/2 begins: its preface, and settings without a word."""


class Watched(AggregatorRelay):
    """A relay whose findings can be waited for."""

    def __init__(
        self, path: Path, port: int, tls: TlsFiles | None = None, host: str = "localhost", **more: Any
    ) -> None:
        self.faults: list[str] = []
        self.tries = 0
        self.found = threading.Event()
        super().__init__(path / "s", host, port, tls=tls, on_fault=self._take, environ={}, **more)

    def _take(self, words: str) -> None:
        self.faults.append(words)
        self.found.set()

    def wait_trouble(self) -> str:
        """Call, as a client of HTTP/2 begins, until there is trouble."""
        deadline = time.monotonic() + 20
        while not self.trouble:
            assert time.monotonic() < deadline
            with dial(self.path) as connection:
                heard(connection, GREETING)
        return self.trouble

    def is_well(self) -> bool:
        """Whether the aggregator was heard last."""
        return not self.trouble

    def _opening(self) -> Step[Side]:
        self.tries += 1
        return super()._opening()

    @property
    def path(self) -> Path:
        return self._path


def heard(connection: socket.socket, said: bytes = b"") -> bytes:
    """Say something and give the first byte of what comes, or nothing where the connection ends."""
    try:
        connection.sendall(said)
        return connection.recv(1)
    except ConnectionError:
        return b""
