"""Sessions: how each ended, and what the next one does about one that did not."""

from __future__ import annotations

from pathlib import Path

import pytest
from fedenvoy.commands import Report, Verdict
from fedenvoy.store import LastSession, Store
from fedenvoy_statecharts import Event, State, __version__
from support.records import REPORT, ended, record, started, training

E, S = Event, State


def session(directory: Path, name: str, *records: object, verdict: str = "", at: float = 1000.0) -> LastSession | None:
    """One session that writes these records and is then killed, unless the last of them ended it."""
    times = iter(range(1000))
    store = Store(directory, session=name, clock=lambda: at + next(times))
    last = store.begin(verdict=verdict)
    for one in records:
        store.append(one)  # type: ignore[arg-type]
    store.close()
    return last


def look(directory: Path) -> Store:
    return Store(directory, session="reader")


def test_a_session_that_was_stopped_leaves_nothing_to_say(tmp_path: Path) -> None:
    assert session(tmp_path, "one", started(), ended(2)) is None
    assert session(tmp_path, "two", started(), ended(2)) is None
    store = look(tmp_path)
    first, second = store.sessions()
    assert (first.id, first.ended, first.exit_code, first.software) == ("one", "stopped", 0, __version__)
    assert first.ended_at is not None
    assert first.began_at <= first.ended_at
    assert second.id == "two"
    assert [one.id for one in store.sessions(1)] == ["two"]
    store.close()


@pytest.mark.parametrize(
    ("source", "event", "word", "code"),
    [
        (S.IDLE, E.STOP_REQUESTED, "stopped", 0),
        (S.IDLE, E.ABORT_REQUESTED, "aborted", 8),
        (S.TRAINING, E.STORE_FAILED, "store", 7),
        (S.DISCONNECTED, E.SHARD_UNUSABLE, "shard", 4),
        (S.DISCONNECTED, E.REGISTRATION_REFUSED, "refused", 5),
        (S.DISCONNECTED, E.LINK_REJECTED, "link", 6),
        (S.REPORTING, E.LINK_REJECTED, "stopped", 0),
    ],
)
def test_how_a_session_ended_is_written_with_its_last_record(
    tmp_path: Path, source: State, event: Event, word: str, code: int
) -> None:
    session(tmp_path, "one", started(), ended(2, source, event))
    store = look(tmp_path)
    (one,) = store.sessions()
    assert (one.ended, one.exit_code) == (word, code)
    store.close()


def test_a_session_under_way_has_no_end(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one")
    store.begin()
    store.append(started())
    (one,) = store.sessions()
    assert (one.ended_at, one.ended, one.exit_code) == (None, "", None)
    store.close()


def test_B6_a_killed_session_is_closed_with_the_experiment_it_had_in_hand(tmp_path: Path) -> None:
    session(tmp_path, "one", started(), training(2), at=1000.0)
    last = session(tmp_path, "two", started(), at=5000.0)
    assert last == LastSession("one", "killed", "exp", told=False)
    store = look(tmp_path)
    one, _ = store.sessions()
    assert (one.ended, one.exit_code, one.experiment, one.run) == ("killed", None, "exp", 1)
    assert one.ended_at == store.journal("one")[-1].at, "it lived at least until its last record"
    assert store.reports() == ()
    assert store.settled() == ()
    store.close()


@pytest.mark.parametrize("state", [S.REVIEWING_PLAN, S.INSTALLING_REQUIREMENTS, S.TRAINING])
def test_an_interrupted_run_is_told_as_failed_where_that_is_wanted(tmp_path: Path, state: State) -> None:
    session(tmp_path, "one", started(), training(2, target=state))
    last = session(tmp_path, "two", started(), ended(2), verdict="it was interrupted")
    assert last == LastSession("one", "killed", "exp", told=True)
    store = look(tmp_path)
    assert store.reports() == (Report("one-1", "exp", Verdict.FAILED, 1, "it was interrupted", "e" * 64),)
    assert store.settled() == (("exp", ""),), "its name rests, and its archive is not to blame"
    store.close()
    session(tmp_path, "three", started(), record(2, delivered="one-1"), ended(3), verdict="it was interrupted")
    store = look(tmp_path)
    assert store.reports() == ()
    assert store.settled() == (), "a rest is for one session"
    store.close()
    assert session(tmp_path, "four", verdict="it was interrupted") is None


@pytest.mark.parametrize("state", [S.DISCONNECTED, S.REGISTERED, S.IDLE, S.REPORTING])
def test_nothing_was_interrupted_where_no_run_was_in_hand(tmp_path: Path, state: State) -> None:
    session(tmp_path, "one", started(), record(2, target=state))
    last = session(tmp_path, "two", verdict="it was interrupted")
    assert last == LastSession("one", "killed", "", told=False)
    store = look(tmp_path)
    assert store.reports() == ()
    store.close()


@pytest.mark.parametrize(("event", "word"), [(E.ABORT_REQUESTED, "aborted"), (E.STORE_FAILED, "store")])
def test_a_run_in_hand_at_an_abrupt_end_was_interrupted_too(tmp_path: Path, event: Event, word: str) -> None:
    session(tmp_path, "one", started(), training(2), ended(3, S.TRAINING, event))
    assert session(tmp_path, "two", verdict="so it is") == LastSession("one", word, "exp", told=True)
    store = look(tmp_path)
    assert [report.id for report in store.reports()] == ["one-1"]
    store.close()


def test_a_run_that_was_left_at_an_orderly_stop_was_not_interrupted(tmp_path: Path) -> None:
    session(tmp_path, "one", started(), training(2), ended(3, S.TRAINING, E.DRAIN_EXPIRED))
    assert session(tmp_path, "two", verdict="so it is") is None
    store = look(tmp_path)
    assert store.reports() == ()
    assert store.sessions()[0].experiment == "exp"
    store.close()


def test_a_run_whose_verdict_is_made_already_is_told_once(tmp_path: Path) -> None:
    """Killed between the verdict and its delivery: the verdict is in the outbox, and stands."""
    session(tmp_path, "one", started(), training(2), record(3, report=REPORT))
    session(tmp_path, "two", verdict="it was interrupted")
    store = look(tmp_path)
    assert store.reports() == (REPORT,)
    store.close()


def test_a_run_whose_verdict_came_with_the_end_was_not_interrupted(tmp_path: Path) -> None:
    session(tmp_path, "one", started(), training(2), ended(3, S.TRAINING, E.ABORT_REQUESTED, report=REPORT))
    assert session(tmp_path, "two", verdict="so it is") == LastSession("one", "aborted", "", told=False)
    store = look(tmp_path)
    assert store.reports() == (REPORT,)
    store.close()


def test_starts_that_die_before_their_first_record_change_nothing_twice(tmp_path: Path) -> None:
    session(tmp_path, "one", started(), training(2))
    session(tmp_path, "two", verdict="it was interrupted")
    last = session(tmp_path, "three", verdict="it was interrupted")
    assert last == LastSession("two", "killed", "", told=False)
    store = look(tmp_path)
    assert [report.id for report in store.reports()] == ["one-1"]
    assert [one.ended for one in store.sessions()] == ["killed", "killed", ""]
    store.close()
