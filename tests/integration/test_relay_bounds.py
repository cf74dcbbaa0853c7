"""The bounds of the relay: what waits, what is slow, what comes in great numbers, and what is not meant well."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from fedenvoy.config import TlsFiles
from fedenvoy.relay import pace, passage
from fedenvoy.testing import ThrowawayAuthority
from fedenvoy.testing.ports import ReservedPort
from support.aggregators import GREETING, Watched, aggregator, bare, call, dial, read_all


@pytest.fixture
def node(authority: ThrowawayAuthority, tmp_path: Path) -> TlsFiles:
    return authority.issue("node-1").write(tmp_path, "node")


def test_who_reads_slowly_is_felt_by_who_sends(tmp_path: Path) -> None:
    """The relay holds a piece, and the rest waits in the system's buffers, which are bounded, and at its sender."""
    sent, blocked = [0], threading.Event()

    def pour(connection: socket.socket) -> None:
        connection.settimeout(1.0)
        piece = bytes(2**16)
        try:
            while sent[0] < 2**28:
                sent[0] += connection.send(piece)
        except TimeoutError:
            blocked.set()

    with bare(pour) as port, Watched(tmp_path, port, host="127.0.0.1") as relay, dial(relay.path) as reader:
        assert blocked.wait(30), "all of it was taken"
        received = len(read_all(reader))
    assert received == sent[0] < 2**25


def test_an_experiment_has_so_many_connections_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MOST", 2)
    come = threading.Semaphore(0)

    def hold(connection: socket.socket) -> None:
        come.release()
        read_all(connection)

    with bare(hold) as port, Watched(tmp_path, port, host="127.0.0.1") as relay, ExitStack() as stack:
        first, *_ = [stack.enter_context(dial(relay.path)) for _ in range(3)]
        assert come.acquire(timeout=20)
        assert come.acquire(timeout=20)
        assert not come.acquire(timeout=0.7)
        first.close()
        assert come.acquire(timeout=20)


def test_a_side_that_ended_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An aggregator that is gone without a word does not answer the end of a connection."""
    monkeypatch.setattr(passage, "LONGEST_END", 0.3)
    go = threading.Event()

    def dead(connection: socket.socket) -> None:
        assert connection.recv(1) == b"x"
        assert go.wait(20)

    with bare(dead) as port, Watched(tmp_path, port, host="127.0.0.1") as relay:
        with dial(relay.path) as connection:
            connection.sendall(b"x")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
        go.set()


def test_connections_that_wait_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose experiment is gone while the aggregator takes nothing, and one that says nothing."""
    go, woken = threading.Event(), [0]
    ready = passage.Passage.ready

    def counted(own: passage.Passage, descriptor: int, events: int) -> None:
        woken[0] += 1
        ready(own, descriptor, events)

    def deaf(_connection: socket.socket) -> None:
        assert go.wait(30)

    with bare(deaf) as port, Watched(tmp_path, port, host="127.0.0.1") as relay:
        with dial(relay.path), dial(relay.path) as gone:
            gone.settimeout(0.5)
            with suppress(TimeoutError):
                while True:
                    gone.sendall(bytes(2**20))
            monkeypatch.setattr(passage.Passage, "ready", counted)
            gone.close()
            assert not relay.found.wait(0.5)
            assert 1 <= woken[0] < 20
        go.set()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
def test_whatever_an_experiment_does_with_its_connections_the_next_call_is_answered(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """Bytes at random, ends at random, many at a time, while the aggregator comes and goes."""
    chance = random.Random(seed)
    reserved = ReservedPort("127.0.0.1")
    right = authority.issue("aggregator")

    def hurt(relay: Watched) -> None:
        standing.append(dial(relay.path))
        standing[-1].settimeout(0.01)
        one = chance.choice(standing)
        with suppress(OSError):
            match chance.randrange(5):
                case 0:
                    one.sendall(chance.randbytes(chance.randrange(1, 200_000)))
                case 1:
                    one.shutdown(chance.choice([socket.SHUT_WR, socket.SHUT_RD, socket.SHUT_RDWR]))
                case 2:
                    one.sendall(GREETING)
                case 3:
                    one.recv(2**16)
                case _:
                    one.close()
                    standing.remove(one)
        if len(standing) > 40:
            standing.pop(0).close()

    def close_all() -> None:
        for one in standing:
            one.close()

    standing: list[socket.socket] = []
    with ExitStack() as stack:
        stack.callback(reserved.close)
        relay = stack.enter_context(Watched(tmp_path, reserved.port, node, host="127.0.0.1"))
        stack.callback(close_all)
        for _ in range(4):
            with aggregator(right, port=reserved.port):
                assert call(relay.path, reserved.port, wait=True) == b"node-1"
                for _ in range(60):
                    hurt(relay)
                assert call(relay.path, reserved.port, wait=True) == b"node-1"
            for _ in range(20):
                hurt(relay)
    assert not relay.faults
    assert len([line for line in caplog.records if line.name.startswith("fedenvoy.relay")]) < 6


class TestPace:
    """How many connections, and how fast."""

    def test_a_burst_is_let_through_and_then_so_many_each_second(self) -> None:
        own = pace.Pace(0.0)
        assert sum(own.take(0, 0.0) for _ in range(2 * pace.BURST)) == pace.BURST
        assert 0.0 < own.pause(0) <= max(0.01, 1.0 / pace.PER_SECOND)
        assert own.take(0, own.pause(0))
        later = own.pause(0) + 1.0
        assert sum(own.take(0, later) for _ in range(2 * pace.BURST)) == pytest.approx(pace.PER_SECOND, abs=10)

    def test_what_stands_is_bounded(self) -> None:
        own = pace.Pace(0.0)
        assert not own.take(pace.MOST, 100.0)
        assert own.take(pace.MOST - 1, 100.0)
