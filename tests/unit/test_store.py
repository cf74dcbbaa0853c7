"""The store: what was written is there after a crash, whole or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from fedenvoy.commands import Settled
from fedenvoy.config import DirectorAddress
from fedenvoy.errors import NodeBusyError, StoreError
from fedenvoy.store import StateLock, Store
from fedenvoy_statecharts import Event, State
from support.records import REPORT, record, training


def test_what_was_written_is_there_for_the_next_session(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one", clock=lambda: 5.0)
    store.append(record(report=REPORT, settled=Settled("exp", "d" * 64)))
    store.close()
    store = Store(tmp_path, session="two")
    assert store.reports() == (REPORT,)
    assert [report.made_at for report in store.reports()] == [5.0]
    assert store.settled() == (("exp", "d" * 64),)
    (entry,) = store.journal("one")
    assert (entry.at, entry.source, entry.event, entry.target) == (5.0, "Training", "training_failed", "Reporting")
    store.append(record(delivered="s-1", outcome="sent"))
    assert store.reports() == ()
    store.close()


def test_every_record_names_its_archive_once_that_is_known(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one")
    store.append(training(1))
    store.append(record(2, report=REPORT))
    store.append(record(3, digest=""))
    assert [entry.digest for entry in store.journal()] == ["e" * 64, "d" * 64, ""]
    store.close()


def test_a_pause_and_its_end_outlive_the_session(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one")
    assert not store.paused()
    store.append(record(1, event=Event.PAUSE_REQUESTED, paused=True))
    store.append(record(2))
    store.close()
    store = Store(tmp_path, session="two")
    store.begin()
    assert store.paused()
    store.append(record(1, event=Event.RESUME_REQUESTED, paused=False))
    store.close()
    store = Store(tmp_path, session="three")
    assert not store.paused()
    store.close()


def test_forgetting_a_name_takes_all_its_archives_and_no_other_s(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one")
    for number, (name, digest) in enumerate([("a", "1"), ("a", "2"), ("b", "1")], 1):
        store.append(record(number, settled=Settled(name, digest)))
    store.append(record(4, event=Event.FORGET_REQUESTED, forgotten="a"))
    assert store.settled() == (("b", "1"),)
    store.close()


def test_a_record_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one")
    store.append(record(report=REPORT))
    with pytest.raises(StoreError):
        store.append(record(number=2, report=REPORT))
    assert len(store.journal()) == 1
    store.append(record(number=2))
    with pytest.raises(StoreError):
        store.append(record(number=2))
    assert len(store.journal()) == 2
    store.close()


def test_names_that_are_no_text_are_stored_escaped(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one")
    store.append(record(experiment="bad \udcff name"))
    assert store.journal()[0].experiment == "bad \\udcff name"
    store.close()


def test_files_are_the_owner_s_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", session="one")
    store.begin()
    store.append(record())
    names = {path.name for path in (tmp_path / "state").iterdir()}
    assert {"journal.sqlite3", "journal.sqlite3-wal", "reserve-1", "reserve-2"} <= names
    for path in (tmp_path / "state").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    store.close()


def test_a_newer_format_is_refused_in_words(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "journal.sqlite3")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer fedenvoy"):
        Store(tmp_path, session="one")


def test_an_unusable_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be used"):
        StateLock(tmp_path / "file" / "state")


def test_a_second_agent_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from fedenvoy.store import StateLock; "
        "lock = StateLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(NodeBusyError, match=f"process {holder.pid}"):
        StateLock(tmp_path)
    holder.kill()
    holder.wait(10)
    holder.stdin.close()
    holder.stdout.close()
    lock = StateLock(tmp_path)  # the kernel dropped the dead holder's lock
    lock.release()


@pytest.mark.parametrize("left", ["", "4194304\n", "no number\n"])
def test_a_lock_file_that_nobody_holds_is_no_lock_whatever_it_says(tmp_path: Path, left: str) -> None:
    (tmp_path / "agent.lock").write_text(left, "ascii")
    lock = StateLock(tmp_path)
    with pytest.raises(NodeBusyError, match=r"process [0-9]+, state"):
        StateLock(tmp_path)
    lock.release()
    lock.release()
    StateLock(tmp_path).release()


def test_each_director_and_each_shard_name_has_a_lock_and_a_journal_of_its_own(tmp_path: Path) -> None:
    from attrs import evolve
    from fedenvoy.app.site import node_directory
    from support.agents import config

    one = config(DirectorAddress("director.example", 50050), tmp_path)
    others = [
        evolve(one, shard_name="node-2"),
        evolve(one, director=DirectorAddress("director.example", 50051)),
        evolve(one, director=DirectorAddress("other.example", 50050)),
        evolve(one, shard_name="node/1"),
    ]
    directories = [node_directory(each) for each in (one, *others)]
    assert len(set(directories)) == 5
    locks = [StateLock(directory) for directory in directories]
    with pytest.raises(NodeBusyError):
        StateLock(node_directory(one))
    for lock in locks:
        lock.release()


def test_the_state_of_a_session_s_end_is_the_exit_code_s(tmp_path: Path) -> None:
    """What the store writes of an end agrees with what the process exits with, for every row that leads there."""
    from fedenvoy.store.endings import how_ended
    from fedenvoy_statecharts import LIFECYCLE, Effect

    codes = {
        Effect.END_STOPPED: 0,
        Effect.END_SHARD: 4,
        Effect.END_REFUSED: 5,
        Effect.END_LINK: 6,
        Effect.END_STORE: 7,
        Effect.END_ABORTED: 8,
    }
    rows = [row for row in LIFECYCLE.rows if row.goal is State.STOPPED]
    assert len(rows) > 20
    for row in rows:
        (effect,) = codes.keys() & set(row.effects)
        assert isinstance(effect, Effect)
        assert how_ended(row.source.value, row.event.value)[1] == codes[effect]
    assert how_ended("Nowhere", "nothing") == ("stopped", 0)
