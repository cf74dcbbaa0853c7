"""The test kit's small parts: clock, certificates, reserved port, relay, recorder, and what a director knows."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fedenvoy.testing
import pytest
from fedenvoy.testing import ManualClock, Pem, Relay, ThrowawayAuthority
from fedenvoy.testing.ports import ReservedPort, listener
from fedenvoy.testing.recording import Recorder
from fedenvoy.testing.registry import Registry, UnknownShardError
from fedenvoy.wire import openfl16_pb2 as wire


def test_the_clock_moves_only_when_it_is_moved() -> None:
    clock = ManualClock(monotonic=5, time=100)
    assert (clock.monotonic(), clock.time()) == (5, 100)
    assert clock.advance(2.5) == 7.5
    assert (clock.monotonic(), clock.time()) == (7.5, 102.5)
    clock.set_wall_clock(50)
    assert (clock.monotonic(), clock.time()) == (7.5, 50)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


@pytest.mark.parametrize("name", fedenvoy.testing.__all__)
def test_every_published_name_is_there(name: str) -> None:
    assert getattr(fedenvoy.testing, name).__name__ == name


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = fedenvoy.testing.nothing_of_the_kind


def test_a_clock_does_not_cost_a_grpc_server() -> None:
    code = "import sys; from fedenvoy.testing import ManualClock; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


@pytest.mark.parametrize("expired", [False, True])
def test_certificates_work_until_they_expire(tmp_path: Path, expired: bool) -> None:
    authority = ThrowawayAuthority()
    server, client = authority.issue("server", expired=expired), authority.issue("one", ())
    ours, theirs = socket.socketpair()
    done = threading.Thread(target=_serve_tls, args=(theirs, server, tmp_path))
    done.start()
    files = client.write(tmp_path, "client")
    assert Pem.read(files) == client
    assert files.private_key.stat().st_mode & 0o077 == 0
    context = ssl.create_default_context(cafile=str(files.root_certificate))
    context.load_cert_chain(files.certificate, files.private_key)
    with ours:
        if expired:
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                context.wrap_socket(ours, server_hostname="localhost")
        else:
            with context.wrap_socket(ours, server_hostname="127.0.0.1") as encrypted:
                assert encrypted.recv(10) == b"one"  # who the server saw
    done.join()


def _serve_tls(connection: socket.socket, pem: Pem, directory: Path) -> None:
    files = pem.write(directory, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.root_certificate)
    context.load_cert_chain(files.certificate, files.private_key)
    with connection:
        try:
            with context.wrap_socket(connection, server_side=True) as encrypted:
                subject = dict(part[0] for part in (encrypted.getpeercert() or {})["subject"])  # type: ignore[misc]
                encrypted.send(str(subject["commonName"]).encode("ascii"))
        except (ssl.SSLError, ConnectionError):
            pass


def test_a_reserved_port_refuses_connections_and_can_be_listened_on() -> None:
    reserved = ReservedPort("127.0.0.1")
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", reserved.port), timeout=5)
        with listener("127.0.0.1", reserved.port) as taking:
            with socket.create_connection(("127.0.0.1", reserved.port), timeout=5), taking.accept()[0]:
                pass
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", reserved.port))
    finally:
        reserved.close()


class Echo:
    """Answers each connection with what it gets, until it is closed."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._answer, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def relay(echo: Echo) -> Iterator[Relay]:
    with Relay("127.0.0.1", echo.port) as made:
        yield made


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection((relay.address.host, relay.address.port), timeout=5)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    return answer


def test_the_relay_relays(relay: Relay) -> None:
    with connect(relay) as one, connect(relay) as two:
        assert exchange(one, b"one") == b"one"
        assert exchange(two, b"two") == b"two"
        assert relay.accepted == 2
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""


def test_the_relay_takes_more_than_any_buffer(relay: Relay) -> None:
    data = bytes(range(256)) * 32_768  # 8 MiB
    with connect(relay) as one:
        sender = threading.Thread(target=one.sendall, args=(data,))
        sender.start()
        answer = bytearray()
        while len(answer) < len(data):
            answer += one.recv(2**20)
        sender.join()
    assert answer == data


def test_a_cut_ends_connections_and_refuses_new_ones_until_it_is_restored(relay: Relay) -> None:
    with connect(relay) as one:
        assert exchange(one, b"x") == b"x"
        relay.cut()
        assert one.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(relay)
        relay.restore()
        with connect(relay) as two:
            assert exchange(two, b"y") == b"y"


def test_frozen_the_relay_is_silent_and_then_goes_on(relay: Relay) -> None:
    with connect(relay) as one:
        assert exchange(one, b"x") == b"x"
        relay.freeze()
        one.sendall(b"late")
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.recv(1)
        with connect(relay) as two:  # the system takes the connection, nobody serves it
            two.sendall(b"later")
            two.settimeout(0.2)
            with pytest.raises(TimeoutError):
                two.recv(1)
            relay.restore()
            one.settimeout(5)
            two.settimeout(5)
            assert one.recv(10) == b"late"
            assert two.recv(10) == b"later"


def test_a_reset_is_a_reset(relay: Relay) -> None:
    with connect(relay) as one:
        assert exchange(one, b"x") == b"x"
        relay.reset_all()
        with pytest.raises(ConnectionResetError):
            one.recv(1)
        with connect(relay) as two:
            assert exchange(two, b"y") == b"y"


def test_a_relay_that_never_ran_can_be_stopped_twice(echo: Echo) -> None:
    relay = Relay("127.0.0.1", echo.port)
    relay.stop()
    relay.stop()


def test_the_recorder_wakes_who_waits() -> None:
    recorder = Recorder()
    later = threading.Timer(0.05, recorder.add, ("WaitExperiment", wire.WaitExperimentRequest(), "peer", ""))
    later.start()
    assert recorder.wait_for(lambda calls: [call.number for call in calls if call.method == "WaitExperiment"]) == [1]
    later.join()
    with pytest.raises(TimeoutError, match="the calls so far: WaitExperiment"):
        recorder.wait_for(lambda calls: len(calls) > 1, timeout=0.05)


def shard(name: str = "one", sample: tuple[str, ...] = ("2",), devices: int = 0) -> wire.ShardInfo:
    node = wire.NodeInfo(name=name, cuda_devices=[wire.CudaDeviceInfo(index=index) for index in range(devices)])
    return wire.ShardInfo(node_info=node, sample_shape=sample, target_shape=["1"])


def registry(*, reoffers: bool = False) -> Registry:
    return Registry(threading.Condition(), ("2",), None, reoffers=reoffers)


def health(devices: int) -> wire.UpdateEnvoyStatusRequest:
    return wire.UpdateEnvoyStatusRequest(name="one", cuda_devices=[wire.CudaDeviceInfo(name="A100")] * devices)


def test_shapes_decide_about_a_registration() -> None:
    known = registry()
    assert known.register(shard())
    assert not known.register(shard("two", ("3",)))
    assert set(known.nodes) == {"one"}
    with pytest.raises(KeyError, match="sample_shape"):
        known.register(shard(sample=()))


def test_a_health_check_of_a_stranger_is_an_error() -> None:
    with pytest.raises(UnknownShardError, match="Unknown shard one"):
        registry().check_health(health(0))


def test_B65_readings_are_matched_by_position_and_more_than_registered_are_an_error() -> None:
    known = registry()
    known.register(shard(devices=2))
    known.check_health(health(1))
    assert [device.name for device in known.nodes["one"].shard.node_info.cuda_devices] == ["A100", ""]
    with pytest.raises(IndexError):
        known.check_health(health(3))
    known.register(shard(devices=0))
    with pytest.raises(KeyError):
        known.check_health(health(1))


def test_an_unfinished_experiment_is_offered_again_where_asked_for() -> None:
    known = registry(reoffers=True)
    with known._changed:
        known.offer("exp", b"", ["one"])
        assert known.next_experiment("one", lambda: True) == "exp"
        assert known.next_experiment("one", lambda: True) == "exp"
        known.experiments["exp"].finished = True
        assert known.next_experiment("one", lambda: False) is None


def test_an_experiment_may_be_over_without_anybody_saying_so() -> None:
    known = registry(reoffers=True)
    through: list[bool] = []
    with known._changed:
        known.offer("exp", b"", ["one"], over=lambda: bool(through))
        assert known.next_experiment("one", lambda: True) == "exp"
        assert known.next_experiment("one", lambda: True) == "exp"
        through.append(True)
        assert known.experiments["exp"].is_over
        assert known.next_experiment("one", lambda: False) is None


def test_a_sandbox_director_tells_who_observes_it_before_it_answers() -> None:
    seen: list[str] = []
    recorder = Recorder(lambda call: seen.append(f"{call.number} {call.method}"))
    recorder.add("WaitExperiment", wire.WaitExperimentRequest(), "peer", "")
    recorder.add("UpdateEnvoyStatus", wire.UpdateEnvoyStatusRequest(), "peer", "")
    assert seen == ["1 WaitExperiment", "2 UpdateEnvoyStatus"]


def test_what_is_swallowed_is_gone_and_its_connection_is_reset_in_the_end(relay: Relay) -> None:
    with connect(relay) as one:
        assert exchange(one, b"x") == b"x"
        relay.swallow()
        one.sendall(b"lost")
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.recv(1)
        with connect(relay) as two:  # a new one fares no better
            two.sendall(b"lost, too")
            two.settimeout(0.2)
            with pytest.raises(TimeoutError):
                two.recv(1)
            relay.restore()
            for spoiled in (one, two):
                spoiled.settimeout(5)
                with pytest.raises(ConnectionResetError):
                    spoiled.recv(1)
        with connect(relay) as three:
            assert exchange(three, b"y") == b"y"


def test_a_connection_that_was_silent_while_bytes_were_lost_goes_on(relay: Relay) -> None:
    with connect(relay) as one:
        assert exchange(one, b"x") == b"x"
        relay.swallow()
        relay.restore()
        assert exchange(one, b"y") == b"y"


def test_where_only_answers_are_lost_the_target_does_what_it_is_asked(echo: Echo, relay: Relay) -> None:
    with connect(relay) as one:
        assert exchange(one, b"x") == b"x"
        relay.swallow(requests=False)
        one.sendall(b"asked")
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.recv(1)
        relay.restore()
        one.settimeout(5)
        with pytest.raises(ConnectionResetError):  # the answer was lost, hence the target had been asked
            one.recv(1)


def test_a_relay_that_refuses_keeps_what_it_has(relay: Relay) -> None:
    with connect(relay) as one:
        assert exchange(one, b"x") == b"x"
        relay.refuse()
        assert exchange(one, b"y") == b"y"
        with pytest.raises(ConnectionRefusedError):
            connect(relay)
        relay.restore()
        with connect(relay) as two:
            assert exchange(two, b"z") == b"z"


def test_delayed_bytes_come_late_in_order_and_whole(relay: Relay) -> None:
    with connect(relay) as one:
        assert exchange(one, b"x") == b"x"
        relay.delay(0.15)
        begun = time.monotonic()
        data = bytes(range(256)) * 4096
        assert exchange(one, data) == data
        assert time.monotonic() - begun >= 0.3, "there and back"
        relay.restore()
        assert exchange(one, b"y") == b"y"
