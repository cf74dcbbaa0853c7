"""What another process reads of a node: the truth at one moment, and nothing is changed by it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fedenvoy.commands import Record, Report, Settled, Verdict
from fedenvoy.errors import StoreError
from fedenvoy.store import StateLock, Store
from fedenvoy.store.history import History, Remembered, holder, read_history
from fedenvoy_statecharts import Event, State
from support.sources import source_path

E, S = Event, State


def record(number: int, event: Event, target: State, *, source: State | None = None, **more: object) -> Record:
    fields: dict[str, object] = {"entry": number, "run": 0, "link": 1, "row": "R1"}
    fields |= {"number": number, "event": event, "source": source, "target": target, **more}
    return Record(**fields)  # type: ignore[arg-type]


LIFE = (
    record(1, E.STARTED, S.DISCONNECTED),
    record(2, E.REGISTRATION_ACCEPTED, S.REGISTERED, source=S.DISCONNECTED),
    record(3, E.HEALTH_CHECKED, S.IDLE, source=S.REGISTERED),
    record(4, E.PAUSE_REQUESTED, S.IDLE, source=S.IDLE, internal=True, paused=True),
    record(5, E.EXPERIMENT_OFFERED, S.REVIEWING_PLAN, source=S.IDLE, experiment="exp", run=1),
    record(6, E.PLAN_APPROVED, S.TRAINING, source=S.REVIEWING_PLAN, experiment="exp", run=1),
    record(7, E.HEALTH_CHECKED, S.TRAINING, source=S.TRAINING, experiment="exp", run=1, internal=True),
)
ENDED = record(
    8,
    E.TRAINING_FAILED,
    S.REPORTING,
    source=S.TRAINING,
    experiment="exp",
    run=1,
    report=Report("s-1", "exp", Verdict.FAILED, 1, "no such column", "ab" * 32),
    settled=Settled("exp", "ab" * 32),
)


class Clock:
    """Goes on by a second each time it is asked."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_directory_without_a_journal_has_no_history(tmp_path: Path) -> None:
    assert read_history(tmp_path) == History()
    assert read_history(tmp_path / "not there") == History()
    assert not list(tmp_path.iterdir())


def test_a_living_agent_s_journal_is_read_while_it_is_written(tmp_path: Path) -> None:
    store = Store(tmp_path, session="s", clock=Clock())
    assert read_history(tmp_path).steps == ()
    for one in LIFE:
        store.append(one)
    found = read_history(tmp_path)
    assert [step.number for step in found.steps] == [1, 2, 3, 5, 6]
    assert found.last is not None
    assert (found.last.number, found.last.internal, found.last.session) == (7, True, "s")
    assert found.session is not None
    assert (found.session.id, found.session.exit_code) == ("s", None)
    journal = {entry.number: entry.at for entry in store.journal()}
    assert found.contact == journal[7]
    assert found.begun == journal[5]
    assert found.paused
    assert not found.outbox
    store.append(ENDED)
    found = read_history(tmp_path, steps=2)
    assert [step.number for step in found.steps] == [6, 8]
    waiting = [(one.experiment, one.verdict, one.text, one.made_at) for one in found.outbox]
    assert waiting == [("exp", "failed", "no such column", found.steps[-1].at)]
    assert found.settled == (Remembered("exp", "ab" * 32, found.steps[-1].at),)
    store.close()


def test_reading_a_closed_journal_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, session="s")
    for one in (*LIFE, ENDED):
        store.append(one)
    store.close()
    before = files(tmp_path)
    assert len(read_history(tmp_path).steps) == 6
    assert files(tmp_path) == before


def test_the_journal_of_a_killed_agent_is_read_with_what_it_wrote_last(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from fedenvoy.commands import Record\nfrom fedenvoy.store import Store\n"
        "from fedenvoy_statecharts import Event, State\n"
        "store = Store(pathlib.Path(sys.argv[1]), session='s')\n"
        "store.append(Record(number=1, entry=1, run=0, link=0, row='', source=None, event=Event.STARTED,"
        " target=State.DISCONNECTED))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": source_path()},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "journal.sqlite3-wal").stat().st_size
    before = files(tmp_path)
    found = read_history(tmp_path)
    assert [step.event for step in found.steps] == ["started"]
    assert found.session is not None
    assert found.session.ended_at is None
    after = files(tmp_path)
    assert after["journal.sqlite3"] == before["journal.sqlite3"]
    assert after["journal.sqlite3-wal"] == before["journal.sqlite3-wal"]


def test_looking_stands_in_no_writer_s_way_and_sees_whole_moments(tmp_path: Path) -> None:
    store = Store(tmp_path, session="s")
    store.append(LIFE[0])
    over = threading.Event()
    seen: list[tuple[int, int]] = []

    def look() -> None:
        while not over.is_set():
            found = read_history(tmp_path)
            seen.append((found.last.number if found.last else 0, len(found.outbox) + 1))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(2, 200):
            report = Report(f"s-{number}", "exp", Verdict.FAILED)
            store.append(record(number, E.TRAINING_FAILED, S.REPORTING, source=S.TRAINING, report=report))
    finally:
        over.set()
        looking.join()
    store.close()
    assert seen == sorted(seen)
    assert all(number == verdicts for number, verdicts in seen), "a record and its verdict are one"
    assert read_history(tmp_path).last == store_last(tmp_path)


def store_last(directory: Path) -> object:
    again = Store(directory, session="s")
    try:
        return again.journal()[-1]
    finally:
        again.close()


@pytest.mark.parametrize("version", [1, 99])
def test_another_format_is_told_in_a_sentence(tmp_path: Path, version: int) -> None:
    Store(tmp_path, session="s").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as db:
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StoreError, match=f"format {version}"):
        read_history(tmp_path)


def test_a_damaged_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="cannot be read"):
        read_history(tmp_path)


def test_the_holder_of_a_directory_is_seen_and_not_disturbed(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    lock = StateLock(tmp_path)
    assert holder(tmp_path) == os.getpid()
    lock.release()
    assert holder(tmp_path) is None
    StateLock(tmp_path).release()
    (tmp_path / "agent.lock").write_text("no number")
    assert holder(tmp_path) is None
