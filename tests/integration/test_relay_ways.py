"""The ways by which the relay gets to the aggregator: through a proxy, and by a name that is asked for."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest
from fedenvoy.relay import AggregatorRelay, dialling, lookup
from fedenvoy.testing import ThrowawayAuthority
from support.aggregators import aggregator, bare, call, dial


@contextmanager
def proxy(
    answer: bytes = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n",
) -> Iterator[tuple[int, list[str]]]:
    """Serve as an HTTP proxy; give its port, and the requests that came."""
    asked: list[str] = []

    def pump(one: socket.socket, other: socket.socket) -> None:
        try:
            while said := one.recv(2**16):
                other.sendall(said)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            said = client.recv(1)
            if not said:
                return
            head += said
        asked.append(head.decode())
        client.sendall(answer)
        if b" 200 " not in answer:
            return
        port = int(head.split()[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as server:
            up = threading.Thread(target=pump, args=(client, server))
            up.start()
            pump(server, client)
            up.join()

    with bare(serve) as port:
        yield port, asked


@pytest.mark.parametrize("encrypted", [True, False])
def test_B62_the_proxy_that_grpc_would_take_is_taken(tmp_path: Path, encrypted: bool) -> None:
    """The name is the proxy's to resolve; what is said through it is encrypted all the same."""
    authority = ThrowawayAuthority()
    node = authority.issue("node-1").write(tmp_path, "node")
    pem = authority.issue("aggregator", ["agg.example"]) if encrypted else None
    with proxy() as (proxy_port, asked), aggregator(pem) as port:
        variables = {"http_proxy": f"http://us%40er:pass@127.0.0.1:{proxy_port}", "no_proxy": "localhost"}
        tls = node if encrypted else None
        with AggregatorRelay(tmp_path / "s", "agg.example", port, tls=tls, environ=variables):
            assert call(tmp_path / "s", port) == (b"node-1" if encrypted else b"nobody")
    (request,) = asked
    assert request.startswith(f"CONNECT agg.example:{port} HTTP/1.1\r\nHost: agg.example:{port}\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'us@er:pass').decode()}\r\n" in request


def test_B62_a_host_that_is_excepted_is_called_directly(tmp_path: Path) -> None:
    variables = {"http_proxy": "http://127.0.0.1:1", "no_proxy": "localhost"}
    with aggregator() as port, AggregatorRelay(tmp_path / "s", "localhost", port, environ=variables):
        assert call(tmp_path / "s", port) == b"nobody"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answers 'HTTP/1.1 403 Forbidden'"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "answers 'SSH-2.0-OpenSSH'"),
        (b"x" * 2**15, "does not answer as an HTTP proxy does"),
    ],
)
def test_B62_a_proxy_that_does_not_let_through_is_named(tmp_path: Path, answer: bytes, words: str) -> None:
    with proxy(answer) as (proxy_port, _):
        variables = {"https_proxy": f"http://127.0.0.1:{proxy_port}"}
        with AggregatorRelay(tmp_path / "s", "agg.example", 50051, environ=variables) as relay:
            with pytest.raises(grpc.RpcError):
                call(tmp_path / "s", 50051)
            expected = f"the proxy 127.0.0.1:{proxy_port} {words}"
            assert relay.trouble == f"the aggregator at agg.example:50051 cannot be reached: {expected}"


@contextmanager
def names(
    patches: pytest.MonkeyPatch, known: Mapping[str, list[str]], held: threading.Event | None = None
) -> Iterator[None]:
    """Answer for names as the system would, in its own time."""

    def look_up(host: str, port: int, flags: int = 0) -> list[lookup.Address]:
        assert not flags
        if held is not None:
            held.wait(20)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, (address, port)) for address in known[host]]

    with patches.context() as patch:
        patch.setattr(lookup, "_look_up", look_up)
        yield


def test_a_name_that_nobody_knows_is_trouble_and_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[str] = []
    with names(monkeypatch, {}):
        with AggregatorRelay(tmp_path / "s", "agg.invalid", 1, environ={}, on_fault=faults.append) as relay:
            with pytest.raises(grpc.RpcError):
                call(tmp_path / "s", 1)
            expected = "the aggregator at agg.invalid:1 cannot be reached: Name or service not known"
            assert relay.trouble == expected
    assert not faults


def test_the_addresses_of_a_name_are_tried_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "_EACH", 0.2)
    with names(monkeypatch, {"agg.example": ["127.0.0.2", "127.0.0.1"]}), aggregator() as port:
        with AggregatorRelay(tmp_path / "s", "agg.example", port, environ={}):
            assert call(tmp_path / "s", port) == b"nobody"


def test_a_name_that_is_not_answered_for_keeps_nothing_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    with names(monkeypatch, {}, held):
        relay = AggregatorRelay(tmp_path / "s", "agg.example", 1, environ={})
        relay.start()
        with dial(tmp_path / "s") as one, dial(tmp_path / "s") as another:
            begun = time.monotonic()
            relay.stop()
            assert time.monotonic() - begun < 1
            for connection in (one, another):
                with suppress(ConnectionError):
                    assert connection.recv(1) == b""
        held.set()
