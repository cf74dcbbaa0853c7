"""A damaged journal is set aside and named; the agent goes on with a new one, and unsent verdicts that can be read."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from pathlib import Path

import pytest
from fedenvoy.commands import Settled
from fedenvoy.errors import StoreError
from fedenvoy.store import Store
from support.records import REPORT, ended, record, started, training

PAGE = 4096


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two directories with a journal of several pages, an outbox and a memory: "stopped" and "killed"."""
    top = tmp_path_factory.mktemp("sound")
    for name in ("stopped", "killed"):
        store = Store(top / name, session="one")
        store._db.execute("PRAGMA synchronous = OFF")
        store.begin()
        store.append(started())
        store.append(record(2, report=REPORT, settled=Settled("exp", "d" * 64), paused=True))
        for number in range(3, 200):
            store.append(training(number))
        if name == "stopped":
            store.append(ended(200))
        store.close()
    return top


@pytest.fixture
def stopped(sound: Path, tmp_path: Path) -> Path:
    """The journal of a session that was stopped."""
    return Path(shutil.copy(sound / "stopped" / "journal.sqlite3", tmp_path))


@pytest.fixture
def killed(sound: Path, tmp_path: Path) -> Path:
    """The journal of a session that was killed."""
    return Path(shutil.copy(sound / "killed" / "journal.sqlite3", tmp_path))


def works(directory: Path) -> Store:
    """Whether a session can begin and write; give the store."""
    store = Store(directory, session="two")
    store.begin()
    store.append(started())
    assert len(store.journal()) == 1
    return store


def aside(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.damaged-*"))


@pytest.mark.parametrize(
    "content",
    [b"no database at all" * 100, b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 5000],
    ids=["text", "zeros", "header"],
)
def test_a_file_that_is_no_database_is_set_aside_and_named(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "journal.sqlite3").write_bytes(content)
    with caplog.at_level(logging.ERROR):
        works(tmp_path).close()
    (name,) = aside(tmp_path)
    assert (tmp_path / name).read_bytes() == content
    (told,) = caplog.messages
    assert name in told
    assert "a new one is begun" in told


@pytest.mark.parametrize("content", [b"", b"x"])
def test_an_empty_file_is_a_new_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.sqlite3").write_bytes(content)
    works(tmp_path).close()
    assert not aside(tmp_path)


def test_two_damaged_files_within_a_second_are_both_kept(tmp_path: Path) -> None:
    for content in (b"first" * 100, b"second" * 100):
        for name in ("", "-wal", "-shm"):
            (tmp_path / f"journal.sqlite3{name}").unlink(missing_ok=True)
        (tmp_path / "journal.sqlite3").write_bytes(content)
        Store(tmp_path, session="two", clock=lambda: 7.0).close()
    assert aside(tmp_path) == ["journal.sqlite3.damaged-7", "journal.sqlite3.damaged-7-2"]


@pytest.mark.parametrize("size", [100, PAGE, 3 * PAGE])
def test_a_file_that_was_cut_off_is_set_aside(tmp_path: Path, stopped: Path, size: int) -> None:
    with stopped.open("r+b") as file:
        file.truncate(size)
    works(tmp_path).close()
    assert len(aside(tmp_path)) == 1


def root_pages(path: Path) -> dict[str, int]:
    db = sqlite3.connect(path)
    found = dict(db.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0").fetchall())
    db.close()
    return found


def break_page(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write(b"\xa5" * PAGE)


@pytest.mark.parametrize("table", ["sessions", "settled", "marks", "journal"])
def test_unsent_verdicts_are_saved_from_a_file_with_a_damaged_page(
    tmp_path: Path, killed: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    break_page(killed, root_pages(killed)[table])
    with caplog.at_level(logging.ERROR):
        store = works(tmp_path)
    assert store.reports() == (REPORT,)
    assert store.settled() == ((("exp", "d" * 64),) if table != "settled" else ())
    assert store.paused() is (table != "marks")
    store.close()
    assert len(aside(tmp_path)) == 1
    assert "with 1 unsent verdicts from it" in caplog.text


def test_a_damaged_outbox_is_noticed_at_the_start_and_not_when_it_is_wanted(tmp_path: Path, stopped: Path) -> None:
    break_page(stopped, root_pages(stopped)["outbox"])
    store = works(tmp_path)
    assert store.reports() == ()
    store.close()
    assert len(aside(tmp_path)) == 1


def test_a_page_that_no_start_reads_is_looked_at_after_a_session_that_was_killed(
    tmp_path: Path, killed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pages = killed.stat().st_size // PAGE
    break_page(killed, next(page for page in range(pages // 2, pages) if page not in root_pages(killed).values()))
    with caplog.at_level(logging.ERROR):
        store = works(tmp_path)
    assert store.reports() == (REPORT,)
    store.close()
    assert len(aside(tmp_path)) == 1
    assert "the journal is damaged" in caplog.text


def test_a_page_that_is_damaged_while_the_agent_runs_ends_the_session_and_the_next_one_recovers(
    tmp_path: Path, stopped: Path
) -> None:
    """As a failing disk does it: the file was sound when it was opened, and this page was not looked at."""
    works(tmp_path).close()
    break_page(stopped, root_pages(stopped)["journal"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedenvoy.store.damage.examine", lambda *_, **__: None)
        store = Store(tmp_path, session="three")
    with pytest.raises(StoreError, match=r"journal\.sqlite3 cannot be written: .*malformed"):
        store.append(started())
    store.close()
    works(tmp_path).close()
    assert len(aside(tmp_path)) == 1


def test_garbage_in_the_write_ahead_log_costs_what_was_in_it_and_no_more(tmp_path: Path, stopped: Path) -> None:
    stopped.with_name(stopped.name + "-wal").write_bytes(b"\x37\x7f\x06\x82" + b"\xa5" * 3 * PAGE)
    store = works(tmp_path)
    assert store.reports() == (REPORT,)
    assert len(store.journal("one")) == 200
    store.close()


def test_a_directory_in_the_journal_s_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite3").mkdir()
    with pytest.raises(StoreError, match="is a directory, where the journal's file is expected: move it away"):
        Store(tmp_path, session="one")


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE journal (mine); PRAGMA user_version = 2;")
    db.close()
    with pytest.raises(StoreError, match="no such table: sessions"):
        Store(tmp_path, session="one")
    assert not aside(tmp_path)
