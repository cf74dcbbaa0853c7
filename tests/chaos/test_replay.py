"""The checker of journals finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.core import CarriedOver
from fedenvoy.store import Store
from fedenvoy_statecharts import Event
from support.core_driver import Driver

from chaos.replay import Line, illegal, read_journal, read_outbox, sent, verdicts


@pytest.fixture
def journal(tmp_path: Path) -> tuple[Line, ...]:
    """Two sessions of a core, written by the store: the first is broken off with a verdict in the outbox."""
    for session, events in (
        ("one", (Event.EXPERIMENT_OFFERED, Event.PLAN_APPROVED, Event.TRAINING_FINISHED)),
        ("two", (Event.REPORT_DELIVERED, Event.STOP_REQUESTED)),
    ):
        store = Store(tmp_path, session=session)
        driver = Driver(carried=CarriedOver(store.reports(), store.settled()))
        driver.feed(Event.SHARD_DESCRIBED, Event.REGISTRATION_ACCEPTED, Event.HEALTH_CHECKED, *events)
        for record in driver.records:
            store.append(record)
        store.close()
    return read_journal(tmp_path / "journal.sqlite3")


def test_a_good_journal_is_legal_and_says_which_verdicts_were_made_and_sent(
    journal: tuple[Line, ...], tmp_path: Path
) -> None:
    assert illegal(journal, broken_off=1) == []
    assert [line.event for line in verdicts(journal)] == ["training_finished"]
    assert verdicts(journal, reported=True) == []
    assert [line.session for line in sent(journal)] == [2]
    assert read_outbox(tmp_path / "journal.sqlite3") == ()
    assert read_journal(tmp_path / "no.sqlite3") == ()


def test_a_session_that_ends_anywhere_was_broken_off(journal: tuple[Line, ...]) -> None:
    (words,) = illegal(journal, broken_off=0)
    assert "do not end in Stopped" in words


@pytest.mark.parametrize(
    ("position", "change", "words"),
    [
        (0, {"event": "health_checked"}, "a session begins with"),
        (0, {"entry": 2}, "a session begins with"),
        (2, {"row": "R999"}, "there is no row"),
        (2, {"target": "Training"}, "does not say"),
        (3, {"source": "Disconnected"}, "follows"),
        (3, {"entry": 9}, "entry 9 follows"),
        (4, {"link": 0}, "link 0 follows 1"),
        (4, {"number": 9}, "a line is missing"),
        (6, {"run": 7}, "a verdict for run 7"),
        (7, {"at": 0.0}, "comes before"),
    ],
)
def test_whatever_is_wrong_is_found(
    journal: tuple[Line, ...], position: int, change: dict[str, Any], words: str
) -> None:
    lines = list(journal)
    lines[position] = replace(lines[position], **change)
    assert any(words in found for found in illegal(lines, broken_off=2))


def test_a_line_that_is_missing_is_found(journal: tuple[Line, ...]) -> None:
    for position in range(1, len(journal) - 1):
        if journal[position].session != journal[position + 1].session:
            continue  # the last line of a session that was broken off: nobody can know
        lines = [*journal[:position], *journal[position + 1 :]]
        assert illegal(lines, broken_off=1), journal[position]
