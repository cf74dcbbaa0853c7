"""Files of earlier versions become present ones, with all that is in them, at once or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from fedenvoy.commands import Report, Verdict
from fedenvoy.errors import StoreError
from fedenvoy.store import Store, schema
from support.records import record, started

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "store"
SESSIONS = ("68cafe00-0a0a0a0a", "68cafe55-0b0b0b0b")


def write(version: int, directory: Path) -> Path:
    """Write a file as that version left it."""
    path = directory / "journal.sqlite3"
    db = sqlite3.connect(path)
    db.executescript((FIXTURES / f"version-{version}.sql").read_text("utf-8"))
    db.close()
    return path


def tables(path: Path) -> dict[str, str]:
    db = sqlite3.connect(path)
    found = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    db.close()
    return {name: " ".join(sql.split()) for name, sql in found.items()}


def test_there_is_a_file_of_every_earlier_version() -> None:
    assert [path.name for path in sorted(FIXTURES.iterdir())] == [f"version-{n}.sql" for n in range(1, schema.VERSION)]


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_file_of_an_earlier_version_keeps_all_that_is_in_it(tmp_path: Path, version: int) -> None:
    write(version, tmp_path)
    store = Store(tmp_path, session="new")
    assert [len(store.journal(session)) for session in SESSIONS] == [10, 9]
    first, *_, last = store.journal(SESSIONS[0])
    assert (first.at, first.number, first.event, first.source) == (1790000000.0, 1, "started", None)
    assert (last.number, last.target, last.internal) == (10, "Stopped", False)
    failed = store.journal(SESSIONS[0])[7]
    assert (failed.experiment, failed.cause, failed.digest) == ("lung \u00e9", "exit 3: exited with 3", "a" * 64)
    assert store.journal(SESSIONS[0])[1].internal
    words = "the experiment was rejected by this node's reviewer"
    report = Report(f"{SESSIONS[1]}-1", "brain", Verdict.REJECTED, 1, words, "b" * 64)
    assert store.reports() == (report,)
    assert store.reports()[0].made_at == 1790000015.0
    assert store.settled() == (("lung \u00e9", "a" * 64), ("brain", "b" * 64))
    assert not store.paused()
    store.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_sessions_of_an_earlier_version_get_their_ends(tmp_path: Path, version: int) -> None:
    write(version, tmp_path)
    store = Store(tmp_path, session="new", clock=lambda: 1790000100.0)
    stopped, open_ = store.sessions()
    assert (stopped.id, stopped.ended, stopped.exit_code) == (SESSIONS[0], "stopped", 0)
    assert (stopped.began_at, stopped.ended_at) == (1790000000.0, 1790000009.0)
    assert (open_.id, open_.ended, open_.ended_at) == (SESSIONS[1], "", None)
    last = store.begin()
    assert last is not None
    assert (last.id, last.ended, last.experiment) == (SESSIONS[1], "killed", "heart")
    store.append(started())
    assert [session.ended for session in store.sessions()] == ["stopped", "killed", ""]
    store.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_an_upgraded_file_has_the_tables_of_a_new_one(tmp_path: Path, version: int) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    write(version, tmp_path / "old")
    for name in ("old", "new"):
        store = Store(tmp_path / name, session="s")
        store.begin()
        store.append(record())
        store.close()
    assert tables(tmp_path / "old" / "journal.sqlite3") == tables(tmp_path / "new" / "journal.sqlite3")


def test_an_upgrade_that_fails_half_way_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(1, tmp_path)
    before = tables(path)

    def broken(source: str | None, event: str) -> tuple[str, int]:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(schema, "how_ended", broken)
    with pytest.raises(StoreError, match="its disk is full"):
        Store(tmp_path, session="new")
    assert tables(path) == before
    monkeypatch.undo()
    store = Store(tmp_path, session="new")
    assert len(store.journal(SESSIONS[1])) == 9
    store.close()
