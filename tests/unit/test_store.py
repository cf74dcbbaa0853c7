"""The store: what was written is there after a crash, whole or not at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from fedenvoy.commands import Record, Report, Settled, Verdict
from fedenvoy.errors import NodeBusyError, StoreError
from fedenvoy.store import StateLock, Store
from fedenvoy_statecharts import Event, State

REPORT = Report(id="s-1", experiment="exp", verdict=Verdict.FAILED, code=1, text="boom", digest="d" * 64)


def record(number: int = 1, **changes: object) -> Record:
    fields: dict[str, object] = {
        "number": number,
        "entry": 2,
        "run": 1,
        "link": 1,
        "row": "R17",
        "source": State.TRAINING,
        "event": Event.TRAINING_FAILED,
        "target": State.REPORTING,
        "experiment": "exp",
        "cause": "boom",
    }
    return Record(**(fields | changes))  # type: ignore[arg-type]


def test_what_was_written_is_there_for_the_next_session(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one", clock=lambda: 5.0)
    store.append(record(report=REPORT, settled=Settled("exp", "d" * 64)))
    store.close()
    store = Store(tmp_path, session="two")
    assert store.reports() == (REPORT,)
    assert store.settled() == (("exp", "d" * 64),)
    (entry,) = store.journal("one")
    assert (entry.at, entry.source, entry.event, entry.target) == (5.0, "Training", "training_failed", "Reporting")
    store.append(record(delivered="s-1", outcome="sent"))
    assert store.reports() == ()
    store.close()


def test_a_record_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one")
    store.append(record(report=REPORT))
    with pytest.raises(StoreError):
        store.append(record(number=2, report=REPORT))
    assert len(store.journal()) == 1
    store.append(record(number=2))
    store.close()


def test_names_that_are_no_text_are_stored_escaped(tmp_path: Path) -> None:
    store = Store(tmp_path, session="one")
    store.append(record(experiment="bad \udcff name"))
    assert store.journal()[0].experiment == "bad \\udcff name"
    store.close()


def test_files_are_the_owner_s_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "state", session="one")
    store.append(record())
    for path in (tmp_path / "state").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    store.close()


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite3").write_bytes(b"no database at all" * 100)
    store = Store(tmp_path, session="one")
    store.append(record())
    store.close()
    assert list(tmp_path.glob("journal.sqlite3.damaged-*"))


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
