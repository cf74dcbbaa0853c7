"""The relay between a confined experiment and its aggregator: real gRPC, real TLS, and sockets that misbehave."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from fedenvoy.config import TlsFiles
from fedenvoy.relay import AggregatorRelay
from fedenvoy.testing import ThrowawayAuthority
from fedenvoy.testing.certs import Pem
from fedenvoy.testing.ports import ReservedPort
from support.aggregators import Watched, aggregator, bare, call, dial, heard, read_all


@pytest.fixture
def node(authority: ThrowawayAuthority, tmp_path: Path) -> TlsFiles:
    return authority.issue("node-1").write(tmp_path, "node")


def test_an_aggregator_with_mutual_tls_is_called_by_a_process_that_has_no_key(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path
) -> None:
    """It learns the node's name from the certificate, as if the process had shown it."""
    with aggregator(authority.issue("aggregator")) as port, Watched(tmp_path, port, node) as relay:
        code = (
            f"import grpc; channel = grpc.insecure_channel('unix:{relay.path}', "
            f"options=[('grpc.default_authority', 'localhost:{port}'), ('grpc.http2_scheme', 'https')]); "
            f"print(channel.unary_unary('/openfl.aggregator.Aggregator/GetTasks')(b'', timeout=20).decode())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "node-1\n"
    assert not relay.trouble
    assert not relay.faults


def test_an_aggregator_without_tls_is_called_too(tmp_path: Path) -> None:
    with aggregator() as port, Watched(tmp_path, port) as relay:
        assert call(relay.path, port) == b"nobody"


def test_B58_where_the_plan_disables_client_authentication_no_certificate_is_shown(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path
) -> None:
    with aggregator(authority.issue("aggregator"), client_auth=False) as port:
        with Watched(tmp_path, port, node, client_auth=False) as relay:
            assert call(relay.path, port) == b"nobody"


def test_an_address_of_version_6_and_a_message_of_many_pieces(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path
) -> None:
    data = os.urandom(20 * 2**20)
    echo: Callable[[bytes, grpc.ServicerContext], bytes] = lambda request, _context: request  # noqa: E731
    with aggregator(authority.issue("aggregator"), answer=echo) as port:
        with Watched(tmp_path, port, node, host="::1") as relay:
            assert call(relay.path, port, data) == data


def stranger(authority: ThrowawayAuthority) -> Pem:
    """Give the certificate of an aggregator of somebody else's, which would accept this federation's nodes."""
    own = authority.issue("aggregator")
    other = ThrowawayAuthority("somebody else").issue("aggregator")
    return Pem(own.root_certificate, other.private_key, other.certificate)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("stranger", "shows a certificate that is not accepted here: "),
        ("expired", "shows a certificate that is not accepted here: certificate has expired"),
        ("name", "shows a certificate made out for agg.example, and not for localhost: the plan must name the aggre"),
        ("plain", "answers in plain text, and the plan says TLS: "),
    ],
)
def test_B57_an_aggregator_that_is_not_who_the_plan_names_ends_the_run_in_words(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path, given: str, words: str
) -> None:
    shown = {
        "stranger": stranger(authority),
        "expired": authority.issue("aggregator", expired=True),
        "name": authority.issue("aggregator", ["agg.example"]),
        "plain": None,
    }[given]
    with aggregator(shown, answer=forbidden) as port, Watched(tmp_path, port, node) as relay:
        for _ in range(2):
            with pytest.raises(grpc.RpcError):
                call(relay.path, port)
        assert relay.found.wait(20)
        assert relay.faults == [relay.trouble]
        assert relay.trouble.startswith(f"the aggregator at localhost:{port} {words}")


def forbidden(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    raise AssertionError("it was called")


def test_B57_the_files_of_this_node_are_read_anew_and_named_when_they_are_wrong(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path
) -> None:
    with aggregator(authority.issue("aggregator")) as port, Watched(tmp_path, port, node) as relay:
        key = node.private_key.read_bytes()
        node.private_key.write_bytes(ThrowawayAuthority("other").issue("x").private_key)
        with pytest.raises(grpc.RpcError):
            call(relay.path, port)
        assert relay.found.wait(20)
        assert relay.trouble == "this node's certificate files cannot be used: key values mismatch"
        node.private_key.write_bytes(key)
        assert call(relay.path, port) == b"node-1"


def test_an_aggregator_that_does_not_accept_this_node_is_suspected_and_waited_for(
    authority: ThrowawayAuthority, tmp_path: Path
) -> None:
    own = authority.issue("node-1")
    other = ThrowawayAuthority("somebody else").issue("node-1")
    wrong = Pem(own.root_certificate, other.private_key, other.certificate).write(tmp_path, "wrong")
    with aggregator(authority.issue("aggregator"), answer=forbidden) as port, Watched(tmp_path, port, wrong) as relay:
        trouble = relay.wait_trouble()
        assert "it may not accept this node's certificate" in trouble
        assert not relay.faults


@pytest.mark.parametrize("encrypted", [True, False])
def test_an_aggregator_that_restarts_in_mid_run_is_called_again(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path, encrypted: bool
) -> None:
    """Meanwhile there is nobody, and then somebody else: once the right one was there, it is waited for."""
    files = node if encrypted else None
    right = authority.issue("aggregator") if encrypted else None
    wrong = stranger(authority) if encrypted else authority.issue("aggregator")
    reserved = ReservedPort("127.0.0.1")
    port = reserved.port
    with ExitStack() as stack:
        stack.callback(reserved.close)
        relay = stack.enter_context(Watched(tmp_path, port, files, host="127.0.0.1"))
        assert "cannot be reached: connection refused" in relay.wait_trouble().lower()
        with aggregator(right, port=port):
            call(relay.path, port, wait=True)
        assert relay.is_well()
        assert "cannot be reached" in relay.wait_trouble()
        with aggregator(wrong, port=port, answer=forbidden), pytest.raises(grpc.RpcError):
            call(relay.path, port)
        assert not relay.is_well()
        with aggregator(right, port=port):
            call(relay.path, port, wait=True)
        assert relay.is_well()
        assert not relay.faults


def test_without_an_aggregator_connections_end_at_once_and_the_client_makes_pauses(tmp_path: Path) -> None:
    reserved = ReservedPort("127.0.0.1")
    with Watched(tmp_path, reserved.port, host="127.0.0.1") as relay:
        begun = time.monotonic()
        for _ in range(3):
            with dial(relay.path) as connection:
                assert heard(connection) == b""
        assert time.monotonic() - begun < 2
        with pytest.raises(grpc.RpcError):
            call(relay.path, reserved.port, timeout=2.5, wait=True)
        assert 4 <= relay.tries <= 9
    reserved.close()


def server_context(tmp_path: Path, pem: Pem) -> ssl.SSLContext:
    files = pem.write(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.private_key)
    context.load_verify_locations(files.root_certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize("encrypted", [True, False])
def test_each_direction_ends_by_itself(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path, encrypted: bool
) -> None:
    """The experiment says that it has said all; the aggregator takes it to the end and only then answers."""

    def repeat(connection: socket.socket) -> None:
        heard = read_all(connection)
        connection.sendall(heard)

    context = server_context(tmp_path, authority.issue("aggregator")) if encrypted else None
    said = os.urandom(3 * 2**20)
    with bare(repeat, context) as port, Watched(tmp_path, port, node if encrypted else None) as relay:
        with dial(relay.path) as connection:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == said


def test_only_the_approved_address_is_reached_whatever_is_asked_for(tmp_path: Path) -> None:
    """What an experiment says arrives there as it was said: there is nobody who would take an order."""
    arrived: list[bytes] = []

    def hear(connection: socket.socket) -> None:
        arrived.append(read_all(connection))

    orders = b"CONNECT other.example:22 HTTP/1.1\r\n\r\n\x05\x01\x00PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"
    with bare(hear) as port, Watched(tmp_path, port, host="127.0.0.1") as relay:
        with dial(relay.path) as connection:
            connection.sendall(orders)
            connection.shutdown(socket.SHUT_WR)
            assert not read_all(connection)
    assert arrived == [orders]


@pytest.mark.parametrize("level", ["short", "long"])
def test_the_socket_is_this_user_s_alone_however_long_its_path_is(tmp_path: Path, level: str) -> None:
    directory = tmp_path if level == "short" else tmp_path / ("d" * 120)
    directory.mkdir(exist_ok=True)
    path = directory / "aggregator.sock"
    path.write_text("left behind")
    with aggregator() as port, AggregatorRelay(path, "localhost", port, environ={}):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        descriptor = os.open(directory, os.O_PATH)
        assert call(Path(f"/proc/self/fd/{descriptor}/aggregator.sock"), port) == b"nobody"
        os.close(descriptor)
    assert not path.exists()


def test_the_socket_can_be_another_user_s(tmp_path: Path) -> None:
    path, owner = tmp_path / "s", (65534, 65533) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    with AggregatorRelay(path, "localhost", 1, owner=owner, environ={}):
        assert (path.stat().st_uid, path.stat().st_gid) == owner


@pytest.mark.parametrize("in_a_handshake", [True, False])
def test_the_relay_ends_at_once_whatever_its_connections_do(
    node: TlsFiles, tmp_path: Path, in_a_handshake: bool
) -> None:
    come = threading.Event()

    def mute(connection: socket.socket) -> None:
        come.set()
        read_all(connection)

    with bare(mute) as port:
        relay = Watched(tmp_path, port, node if in_a_handshake else None)
        relay.start()
        with dial(relay.path) as connection:
            assert come.wait(20)
            begun = time.monotonic()
            relay.stop()
            assert time.monotonic() - begun < 1
            assert heard(connection) == b""
        relay.stop()
    assert not relay.path.exists()


def test_where_no_socket_can_be_made_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AggregatorRelay(tmp_path / "nowhere" / "s", "localhost", 1, environ={}).start()
