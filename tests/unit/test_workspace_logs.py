"""The logs of past runs: moved, not copied; few, private, and not kept for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from fedenvoy.workspace.logs import MOST, keep_log, logs_directory, prune_logs
from fedenvoy.workspace.runs import make_run

DAY = 24 * 3600.0


def run_with(state: Path, number: int, **files: str) -> Path:
    run = make_run(state, "s", number)
    for name, text in files.items():
        (run / f"child.{name}").write_text(text)
        (run / f"child.{name}").chmod(0o600)
    return run


def test_what_was_printed_is_kept_with_what_became_of_it(tmp_path: Path) -> None:
    run = run_with(tmp_path, 1, log="first", **{"earlier.log": "second", "latest.log": "third"})
    place = keep_log(tmp_path, run, "exit 3: exited with 3\n\nTraceback \udc80", retention=DAY)
    assert place == tmp_path / "logs/s-1"
    assert {path.name: path.read_text() for path in place.iterdir()} == {
        "child.log": "first",
        "child.earlier.log": "second",
        "child.latest.log": "third",
        "verdict.txt": "exit 3: exited with 3\n\nTraceback \\udc80\n",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o600}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert list(run.iterdir()) == []


def test_a_later_look_keeps_what_was_said_before(tmp_path: Path) -> None:
    run = run_with(tmp_path, 1, log="x")
    keep_log(tmp_path, run, "the verdict", retention=DAY)
    assert keep_log(tmp_path, run, retention=DAY) == tmp_path / "logs/s-1"
    assert (tmp_path / "logs/s-1/verdict.txt").read_text() == "the verdict\n"


def test_a_run_without_a_word_leaves_no_log(tmp_path: Path) -> None:
    assert keep_log(tmp_path, make_run(tmp_path, "s", 1), retention=DAY) is None
    assert list(logs_directory(tmp_path).iterdir()) == []


def test_without_retention_nothing_is_kept_and_what_there_is_goes(tmp_path: Path) -> None:
    keep_log(tmp_path, run_with(tmp_path, 1, log="x"), retention=DAY)
    run = run_with(tmp_path, 2, log="y")
    assert keep_log(tmp_path, run, "words", retention=0) is None
    assert list(logs_directory(tmp_path).iterdir()) == []
    assert (run / "child.log").exists()


def test_only_plain_files_are_kept(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    run = run_with(tmp_path, 1)
    (run / "child.log").symlink_to(secret)
    os.mkfifo(run / "child.latest.log")
    (run / "child.earlier.log").mkdir()
    place = keep_log(tmp_path, run, "words", retention=DAY)
    assert place is not None
    assert [path.name for path in place.iterdir()] == ["verdict.txt"]


def test_the_oldest_leave(tmp_path: Path) -> None:
    for number in range(MOST + 5):
        place = keep_log(tmp_path, run_with(tmp_path, number, log="x"), retention=10**12)
        assert place is not None
        os.utime(place, (1000 + number, 1000 + number))
    keep_log(tmp_path, run_with(tmp_path, MOST + 5, log="x"), retention=10**12)
    names = {path.name for path in logs_directory(tmp_path).iterdir()}
    assert len(names) == MOST
    assert {f"s-{MOST + 4}", f"s-{MOST + 5}"} <= names
    assert "s-0" not in names


@pytest.mark.parametrize(("age", "kept"), [(0.5 * DAY, True), (1.5 * DAY, False)])
def test_a_log_leaves_when_its_time_is_up(tmp_path: Path, age: float, kept: bool) -> None:
    place = keep_log(tmp_path, run_with(tmp_path, 1, log="x"), retention=DAY)
    assert place is not None
    prune_logs(tmp_path, retention=DAY, now=place.stat().st_mtime + age)
    assert place.exists() == kept


def test_a_place_that_cannot_be_written_to_harms_nobody(tmp_path: Path) -> None:
    logs_directory(tmp_path).write_text("no directory")
    assert keep_log(tmp_path, run_with(tmp_path, 1, log="x"), "words", retention=DAY) is None
