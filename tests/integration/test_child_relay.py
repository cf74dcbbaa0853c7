"""The child's side of the relay: a client of OpenFL's that has no certificates, and is bounded as it always is."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from fedenvoy.relay import AggregatorRelay
from fedenvoy.testing import ThrowawayAuthority
from fedenvoy.testing.ports import ReservedPort
from integration.test_child_aggregator import METHOD, Client, process, script
from support.aggregators import aggregator


@pytest.fixture(scope="module")
def child() -> Iterator[ModuleType]:
    """The engine's program; it has its other part loaded under a name of its own."""
    yield script("openfl")
    sys.modules.pop("_fedenvoy_aggregator", None)


@pytest.fixture
def part(child: ModuleType) -> Any:
    return child.part("aggregator")


@pytest.fixture
def port() -> Iterator[int]:
    reserved = ReservedPort("127.0.0.1")
    yield reserved.port
    reserved.close()


def client(part: Any, path: Path, port: int, patience: float, **more: Any) -> Client:
    """Make a client that has no certificate."""
    own = Client(port, part, patience, **more)
    part.bound(own, patience, part.Relay(str(path), f"localhost:{port}"))
    return own


def test_B46_over_the_relay_a_collaborator_gives_up_and_names_its_aggregator(
    part: Any, port: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with AggregatorRelay(tmp_path / "s", "localhost", port, environ={}) as relay:
        with pytest.raises(
            part.AggregatorGoneError, match=f"aggregator at localhost:{port} has answered nothing for 1"
        ):
            client(part, tmp_path / "s", port, 1.0).call()
        assert relay.trouble == f"the aggregator at localhost:{port} cannot be reached: Connection refused"
    assert f"the aggregator at localhost:{port} fails: UNAVAILABLE" in capfd.readouterr().err


@pytest.mark.nightly
def test_B46_over_the_relay_a_stopped_aggregator_is_noticed_although_the_relay_takes_connections(
    part: Any, port: int, tmp_path: Path
) -> None:
    own = client(part, tmp_path / "s", port, 1.0)
    with AggregatorRelay(tmp_path / "s", "localhost", port, environ={}), process(port, "never") as stopped:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(own.call)
            assert stopped.stdout is not None
            assert stopped.stdout.readline() == "called\n"
            stopped.send_signal(signal.SIGSTOP)
            with pytest.raises(part.AggregatorGoneError, match="has answered nothing for 1 seconds"):
                answer.result(40)
    assert own.tries == 1


def test_B48_over_the_relay_a_collaborator_goes_on_when_its_aggregator_is_back(
    part: Any, port: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    authority = ThrowawayAuthority()
    node = authority.issue("node-1").write(tmp_path, "node")
    own = client(part, tmp_path / "s", port, 20.0, tls=True)
    with AggregatorRelay(tmp_path / "s", "localhost", port, tls=node, environ={}):
        with aggregator(authority.issue("aggregator"), port=port):
            assert own.call() == b"node-1"
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(own.call)
            deadline = time.monotonic() + 20
            while "fails: UNAVAILABLE" not in capfd.readouterr().err:
                assert time.monotonic() < deadline
            with aggregator(authority.issue("aggregator"), port=port):
                assert answer.result(20) == b"node-1"


class Kind:
    """A client as OpenFL's is made: its channel is opened when it is constructed."""

    create_insecure_channel: Callable[..., grpc.Channel]
    create_tls_channel: Callable[..., grpc.Channel]

    def __init__(self, uri: str, *, tls: bool) -> None:
        self.uri, self.tls = uri, tls
        create = self.create_tls_channel if tls else self.create_insecure_channel
        self.channel = create(uri, "cert/none.crt", False, "cert/none.crt", "cert/none.key")


@pytest.mark.parametrize("tls", [True, False])
def test_every_client_of_the_class_goes_by_the_relay_and_needs_no_files(part: Any, tmp_path: Path, tls: bool) -> None:
    authority = ThrowawayAuthority()
    node = authority.issue("node-1").write(tmp_path, "node") if tls else None
    told: list[str] = []

    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        told.append(context.peer())
        return b"tasks"

    kind = type("Own", (Kind,), {})
    with aggregator(authority.issue("aggregator") if tls else None, answer=answer) as port:
        with AggregatorRelay(tmp_path / "s", "localhost", port, tls=node, environ={}):
            part.take(part.Relay(str(tmp_path / "s"), f"localhost:{port}"), kind)
            with kind(f"localhost:{port}", tls=tls).channel as channel:
                ask: Any = channel.unary_unary(METHOD)
                assert ask(b"", timeout=20) == b"tasks"
    assert len(told) == 1


def test_a_socket_with_a_long_path_is_reached(child: ModuleType, tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    path = directory / "aggregator.sock"
    with aggregator() as port, AggregatorRelay(path, "localhost", port, environ={}):
        relay = child.reached({"relay": str(path), "aggregator": f"localhost:{port}"})
        with grpc.insecure_channel(f"unix:{relay.socket}") as channel:
            ask: Any = channel.unary_unary(METHOD)
            assert ask(b"", timeout=20) == b"nobody"
    os.close(int(relay.socket.split("/")[4]))
    assert child.reached({"relay": None}) is None


def test_B57_the_aggregator_is_looked_at_before_the_collaborator_calls_and_waited_for_a_while(
    child: ModuleType, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    with AggregatorRelay(path, "localhost", port, environ={}):
        monkeypatch.setattr(child, "PATIENCE", 0.6)
        child.look_through(str(path))
        assert "the aggregator could not be looked at" in capfd.readouterr().err
        monkeypatch.setattr(child, "PATIENCE", 30.0)
        looked = threading.Thread(target=child.look_through, args=(str(path),))
        looked.start()
        with aggregator(port=port):
            looked.join(20)
        assert not looked.is_alive()
        assert not capfd.readouterr().err
