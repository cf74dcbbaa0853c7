"""B46: the client of OpenFL's collaborator gives up when its aggregator is gone, and only then.

The client here has what OpenFL's has, and repeats as it does; the real one is in tests/interop.
"""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import fedenvoy.engines.child as child_scripts
import grpc
import pytest
from fedenvoy.testing import ThrowawayAuthority
from fedenvoy.testing.ports import ReservedPort

METHOD = "/openfl.aggregator.Aggregator/GetTasks"


def script(name: str) -> ModuleType:
    """Load one of the child's scripts, which are no modules of the package."""
    path = Path(*child_scripts.__path__) / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"child_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def aggregator() -> ModuleType:
    return script("aggregator")


@contextmanager
def serving(port: int, answer: Callable[[grpc.ServicerContext], bytes], tls: Any = None) -> Iterator[None]:
    """Answer every call at a port."""
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda _request, context: answer(context))
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool)
    service = grpc.method_handlers_generic_handler(METHOD.split("/")[1], {"GetTasks": handler})
    server.add_generic_rpc_handlers((service,))
    if tls is None:
        server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        pair = [(tls.private_key, tls.certificate)]
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials(pair, tls.root_certificate, True))
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()
        pool.shutdown()


class Client:
    """Calls as OpenFL's client does: a new channel for each call, and again for as long as it fails."""

    def __init__(self, port: int, module: ModuleType, patience: float, **more: Any) -> None:
        self.uri, self.tls, self.disable_client_auth = f"localhost:{port}", False, False
        self.root_certificate = self.certificate = self.private_key = "none"
        self.__dict__.update(more)
        self.tries = 0
        self.create_insecure_channel: Callable[..., grpc.Channel]
        self.create_tls_channel: Callable[..., grpc.Channel]
        module.bound(self, patience)

    def call(self) -> bytes:
        create = self.create_tls_channel if self.tls else self.create_insecure_channel
        channel = create(self.uri)
        ask: Any = channel.unary_unary(METHOD)
        try:
            while True:
                self.tries += 1
                try:
                    return bytes(ask(b""))
                except grpc.RpcError as error:
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        time.sleep(0.1)
        finally:
            channel.close()


@pytest.fixture
def port() -> Iterator[int]:
    reserved = ReservedPort("127.0.0.1")
    yield reserved.port
    reserved.close()


def test_B46_a_collaborator_whose_aggregator_is_gone_gives_up(
    aggregator: ModuleType, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    client = Client(port, aggregator, 1.5)
    begun = time.monotonic()
    with pytest.raises(aggregator.AggregatorGoneError) as caught:
        client.call()
    assert time.monotonic() - begun > 1.5
    expected = f"the aggregator at localhost:{port} has answered nothing for 1.5 seconds (agent.aggregator_timeout): "
    assert str(caught.value).startswith(f"{expected}UNAVAILABLE: ")
    assert caught.value.fedenvoy_code == "aggregator"
    assert f"the aggregator at localhost:{port} fails: UNAVAILABLE" in capfd.readouterr().err


def test_B46_an_aggregator_that_answers_every_call_with_an_error_is_not_asked_without_pause(
    aggregator: ModuleType, port: int
) -> None:
    def refuse(context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.INTERNAL, "out of order")

    client = Client(port, aggregator, 1.2)
    with serving(port, refuse), pytest.raises(aggregator.AggregatorGoneError, match="INTERNAL: out of order"):
        client.call()
    assert client.tries < 20


FROZEN = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import grpc
def answer(request, context):
    print("called", flush=True)
    if sys.argv[2] == "never":
        threading.Event().wait()
    return b"tasks"
handler = grpc.unary_unary_rpc_method_handler(answer)
server = grpc.server(ThreadPoolExecutor(1))
service = grpc.method_handlers_generic_handler("openfl.aggregator.Aggregator", {"GetTasks": handler})
server.add_generic_rpc_handlers((service,))
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
print("ready", flush=True)
threading.Event().wait()
"""


@contextmanager
def process(port: int, answers: str = "at once") -> Iterator[subprocess.Popen[str]]:
    """An aggregator that can be stopped and killed; it answers "at once" or "never"."""
    command = [sys.executable, "-c", FROZEN, str(port), answers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def test_B46_an_aggregator_that_is_stopped_in_a_call_is_noticed_although_the_connection_stands(
    aggregator: ModuleType, port: int
) -> None:
    client = Client(port, aggregator, 1.0)
    with process(port, "never") as child, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.call)
        assert child.stdout is not None
        assert child.stdout.readline() == "called\n"
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(aggregator.AggregatorGoneError, match="has answered nothing for 1 seconds"):
            answer.result(40)
    assert client.tries == 1


def test_B48_an_aggregator_that_is_frozen_for_a_while_gets_the_call_once(aggregator: ModuleType, port: int) -> None:
    client = Client(port, aggregator, 20.0)
    with process(port) as child, ThreadPoolExecutor(1) as pool:
        child.send_signal(signal.SIGSTOP)
        answer = pool.submit(client.call)
        with pytest.raises(TimeoutError):
            answer.result(1.5)
        child.send_signal(signal.SIGCONT)
        assert answer.result(15) == b"tasks"
        assert child.stdout is not None
        assert child.stdout.readline() == "called\n"
    assert client.tries == 1


def test_B48_a_call_that_lasts_longer_than_the_bound_is_let_be_while_somebody_is_there(
    aggregator: ModuleType, port: int
) -> None:
    """Results may take hours to send, or to be worked in."""
    asked, go = threading.Event(), threading.Event()

    def slow(_context: grpc.ServicerContext) -> bytes:
        asked.set()
        assert go.wait(30)
        return b"done"

    client = Client(port, aggregator, 1.0)
    with serving(port, slow), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.call)
        assert asked.wait(10)
        with pytest.raises(TimeoutError):
            answer.result(2.5)
        go.set()
        assert answer.result(10) == b"done"
    assert client.tries == 1


def test_B46_time_without_calls_does_not_count_and_an_answer_begins_the_bound_anew(
    aggregator: ModuleType, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    client = Client(port, aggregator, 1.5)
    with serving(port, lambda _context: b"tasks"):
        assert client.call() == b"tasks"
    time.sleep(1.6)  # the training
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.call)
        with pytest.raises(TimeoutError):
            answer.result(0.7)
        with serving(port, lambda _context: b"more"):
            assert answer.result(20) == b"more"
    assert "answers again" in capfd.readouterr().err
    begun = time.monotonic()
    with pytest.raises(aggregator.AggregatorGoneError):
        client.call()
    assert time.monotonic() - begun > 1.5


@pytest.mark.nightly
def test_B46_with_encryption_the_certificates_are_those_of_the_plan(
    aggregator: ModuleType, port: int, tmp_path: Path
) -> None:
    authority = ThrowawayAuthority("the federation")
    files = authority.issue("node-1").write(tmp_path, "node-1")
    names = {name: str(getattr(files, name)) for name in ("root_certificate", "certificate", "private_key")}
    begun, go = threading.Event(), threading.Event()

    def slow(_context: grpc.ServicerContext) -> bytes:
        begun.set()
        assert go.wait(30)
        return b"tasks"

    client = Client(port, aggregator, 1.0, tls=True, **names)
    with serving(port, slow, tls=authority.issue("localhost")), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.call)
        assert begun.wait(10)
        with pytest.raises(TimeoutError):
            answer.result(2.5)
        go.set()
        assert answer.result(10) == b"tasks"


@pytest.mark.nightly
def test_a_listener_that_never_speaks_is_nobody(aggregator: ModuleType) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = Client(mute.getsockname()[1], aggregator, 1.0)
        with pytest.raises(aggregator.AggregatorGoneError):
            client.call()


def test_a_client_of_the_experiment_s_own_is_left_as_it_is() -> None:
    own = SimpleNamespace(uri="x")
    script("openfl").bound_client(own, 600.0)
    assert vars(own) == {"uri": "x"}
