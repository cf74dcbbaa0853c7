"""The loop: one owner, records before effects, clocks turned by hand."""

from __future__ import annotations

import random
import threading

import pytest
from fedenvoy.commands import Command, DescribeShard, Dial, Persist, Record
from fedenvoy.config import AgentSettings
from fedenvoy.core import Core
from fedenvoy.errors import Exit, StoreError
from fedenvoy.events import Message, Problem, Scopes, Shard, ShardDescription
from fedenvoy.loop import Loop
from fedenvoy_statecharts import Event, State


class Bench:
    """A loop whose store, adapters and clock are lists and numbers."""

    def __init__(self, settings: AgentSettings | None = None) -> None:
        self.now = 0.0
        self.happened: list[tuple[str, object]] = []
        self.broken_from: int | None = None
        core = Core(settings or AgentSettings(), session="s", now=0.0, rng=random.Random(3))
        self.loop = Loop(
            core, persist=self._persist, dispatch=self._dispatch, observe=self._observe, clock=lambda: self.now
        )

    def _persist(self, record: Record) -> None:
        if self.broken_from is not None and record.number >= self.broken_from:
            raise StoreError("the disk is full")
        self.happened.append(("record", record.event))

    def _observe(self, record: Record) -> None:
        self.happened.append(("observe", record.event))

    def _dispatch(self, command: Command) -> None:
        assert not isinstance(command, Persist)
        self.happened.append(("do", type(command)))

    def post(self, event: Event) -> None:
        self.loop.run_pending()
        scopes = self.loop.snapshot.scopes
        if event is Event.SHARD_DESCRIBED:
            self.loop.post(Shard(event=event, scopes=scopes, description=ShardDescription(("1",), ("1",))))
        elif event in {Event.REGISTRATION_FAILED, Event.REGISTRATION_REFUSED}:
            self.loop.post(Problem(event=event, scopes=scopes, text="no"))
        else:
            self.loop.post(Message(event=event, scopes=scopes))
        self.loop.run_pending()

    def count(self, kind: type[Command]) -> int:
        return sum(what == ("do", kind) for what in self.happened)


def test_record_is_on_disk_before_anybody_hears_of_the_step() -> None:
    bench = Bench()
    bench.loop.run_pending()
    assert bench.happened == [
        ("record", Event.STARTED),
        ("observe", Event.STARTED),
        ("do", DescribeShard),
    ]


def test_delayed_commands_wait_for_their_time() -> None:
    bench = Bench()
    bench.post(Event.SHARD_DESCRIBED)
    assert bench.count(Dial) == 1
    bench.post(Event.REGISTRATION_FAILED)
    assert bench.count(Dial) == 1
    due = bench.loop.next_due
    assert due is not None
    bench.now = due - 0.001
    bench.loop.run_pending()
    assert bench.count(Dial) == 1
    bench.now = due
    bench.loop.run_pending()
    assert bench.count(Dial) == 2


def test_delayed_commands_of_an_old_scope_are_dropped() -> None:
    bench = Bench()
    bench.post(Event.SHARD_DESCRIBED)
    bench.post(Event.REGISTRATION_FAILED)
    bench.post(Event.STOP_REQUESTED)
    bench.now += 100
    bench.loop.run_pending()
    assert bench.count(Dial) == 1


def test_B94_stop_during_a_retry_pause_ends_without_another_call() -> None:
    bench = Bench()
    bench.post(Event.SHARD_DESCRIBED)
    bench.post(Event.REGISTRATION_FAILED)
    bench.post(Event.STOP_REQUESTED)
    assert bench.loop.end is not None
    assert bench.loop.end.code is Exit.OK
    assert bench.count(Dial) == 1


def test_B94_a_real_waiting_loop_wakes_at_once_for_a_stop() -> None:
    bench = Bench()
    worker = threading.Thread(target=bench.loop.run)
    worker.start()
    bench.loop.post(Message(event=Event.STOP_REQUESTED))
    worker.join(5)
    assert not worker.is_alive()
    assert bench.loop.snapshot.state is State.STOPPED


def test_B87_posting_from_another_thread_only_leaves_a_message() -> None:
    bench = Bench()
    bench.loop.run_pending()
    before = bench.loop.snapshot
    poster = threading.Thread(target=bench.loop.post, args=(Message(event=Event.STOP_REQUESTED),))
    poster.start()
    poster.join(5)
    assert bench.loop.snapshot is before, "nothing happens on the poster's thread"
    bench.loop.run_pending()
    assert bench.loop.snapshot.state is State.STOPPED


def test_B87_a_second_owner_is_refused() -> None:
    bench = Bench()
    bench.loop.run_pending()
    errors: list[BaseException] = []

    def intrude() -> None:
        try:
            bench.loop.run_pending()
        except AssertionError as error:
            errors.append(error)

    intruder = threading.Thread(target=intrude)
    intruder.start()
    intruder.join(5)
    assert errors


def test_B88_readers_see_the_last_settled_snapshot_without_waiting() -> None:
    bench = Bench()
    bench.post(Event.SHARD_DESCRIBED)
    snapshot = bench.loop.snapshot
    assert (snapshot.state, snapshot.scopes.link) == (State.DISCONNECTED, 1)
    with pytest.raises(AttributeError):
        snapshot.state = State.IDLE  # type: ignore[misc]


def test_B89_an_error_in_an_effect_leaves_machine_and_journal_agreeing() -> None:
    bench = Bench()
    bench.loop.run_pending()

    def explode(_command: Command) -> None:
        raise RuntimeError("an adapter broke its promise")

    bench.loop._dispatch = explode
    with pytest.raises(RuntimeError):
        bench.post(Event.SHARD_DESCRIBED)
    assert bench.happened[-1] == ("observe", Event.SHARD_DESCRIBED)
    assert bench.loop.snapshot.state is State.DISCONNECTED
    assert bench.loop.snapshot.scopes.link == 1


def test_store_failure_ends_the_session_and_runs_no_effect_of_the_lost_step() -> None:
    bench = Bench()
    bench.loop.run_pending()
    bench.broken_from = 2
    bench.post(Event.SHARD_DESCRIBED)
    assert bench.count(Dial) == 0
    assert bench.loop.end is not None
    assert bench.loop.end.code is Exit.STORE


def test_the_loop_ends_also_when_the_record_of_the_end_cannot_be_written() -> None:
    bench = Bench()
    bench.loop.run_pending()
    bench.broken_from = 2
    bench.post(Event.STOP_REQUESTED)
    assert bench.loop.end is not None
    assert bench.loop.end.code is Exit.STORE


def test_nobody_sees_a_step_before_it_is_on_disk() -> None:
    bench = Bench()
    bench.loop.run_pending()
    seen: list[State] = []
    persist = bench.loop._persist

    def watch(record: Record) -> None:
        seen.append(bench.loop.snapshot.state)
        persist(record)

    bench.loop._persist = watch
    bench.post(Event.STOP_REQUESTED)
    assert seen == [State.DISCONNECTED]
    assert bench.loop.snapshot.state is State.STOPPED


def test_messages_are_handled_in_the_order_in_which_they_were_posted() -> None:
    bench = Bench()
    bench.loop.run_pending()
    scopes = bench.loop.snapshot.scopes
    bench.loop.post(Shard(event=Event.SHARD_DESCRIBED, scopes=scopes, description=ShardDescription((), ())))
    bench.loop.post(Message(event=Event.REGISTRATION_ACCEPTED, scopes=Scopes(link=1)))
    bench.loop.run_pending()
    assert [what for how, what in bench.happened if how == "record"] == [
        Event.STARTED,
        Event.SHARD_DESCRIBED,
        Event.REGISTRATION_ACCEPTED,
    ]
