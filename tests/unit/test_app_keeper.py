"""A shortage of room that passes is survived; one that lasts ends the session, and its last records are written."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from fedenvoy.app import keeper
from fedenvoy.app.keeper import Keeper
from fedenvoy.events import Message
from fedenvoy.store import Store
from fedenvoy_statecharts import Event
from support.records import training
from support.small_disk import fill, small_disk


class Bench:
    """A keeper of a store on a small disk, and what it posted."""

    def __init__(self, directory: Path) -> None:
        self.posted: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.directory = directory
        self.store = Store(directory / "state", session="one")
        self.store.begin()
        self.keeper = Keeper(self.store, self.posted.put)
        self.number = 0

    def keep_until(self, mark: str) -> None:
        while not getattr(self.store, mark):
            self.number += 1
            self.keeper.keep(training(self.number, cause="x" * 3000))
            assert self.number < 200

    def close(self) -> None:
        self.keeper.close()
        assert len(self.store.journal()) == self.number, "no record was lost"
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(keeper, "PAUSE", 0.02)
    with small_disk(tmp_path / "disk") as disk:
        made = Bench(disk)
        try:
            yield made
        finally:
            made.close()


def test_a_shortage_that_passes_changes_nothing(bench: Bench) -> None:
    ballast = fill(bench.directory)
    bench.keep_until("short_of_room")
    ballast.unlink()
    assert bench.keeper._watch is not None
    bench.keeper._watch.join(20)
    assert not bench.store.short_of_room
    assert bench.posted.empty()
    # The next one is met with all that is kept back, too.
    fill(bench.directory)
    bench.keep_until("short_of_room")
    assert not bench.store.out_of_room


def test_a_shortage_that_lasts_ends_the_session(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "GRACE", 0.1)
    fill(bench.directory)
    bench.keep_until("short_of_room")
    message = bench.posted.get(timeout=20)
    assert message.event is Event.STORE_FAILED
    assert message.cause == "store: the disk that holds the journal is full"


def test_the_last_room_ends_the_session_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "GRACE", 1000.0)
    fill(bench.directory)
    bench.keep_until("short_of_room")
    fill(bench.directory)
    bench.keep_until("out_of_room")
    assert bench.posted.get(timeout=20).event is Event.STORE_FAILED
