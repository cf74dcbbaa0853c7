"""What is kept has bounds; the present session and unsent verdicts are not subject to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fedenvoy.commands import Settled
from fedenvoy.config import JournalSettings
from fedenvoy.store import Store, retention, store
from support.records import REPORT, ended, record, started

DAY = 24 * 3600.0


def fill(directory: Path, sizes: dict[str, int], *, days: float = 0.0) -> None:
    """Write sessions of so many records, all at the same time."""
    for name, size in sizes.items():
        kept = Store(directory, session=name, clock=lambda: days * DAY)
        kept.append(started())
        for number in range(2, size):
            kept.append(record(number))
        kept.append(ended(size))
        kept.close()


def begin(directory: Path, *, days: float = 0.0, **settings: int) -> Store:
    bounds = JournalSettings(**({"records": 0, "days": 0} | settings))
    opened = Store(directory, session="present", settings=bounds, clock=lambda: days * DAY)
    opened.begin()
    return opened


def kept(opened: Store) -> dict[str, list[int]]:
    return {one.id: [line.number for line in opened.journal(one.id)] for one in opened.sessions()}


def test_the_oldest_records_beyond_the_bound_leave_at_the_start(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 4, "c": 3})
    opened = begin(tmp_path, records=5)
    assert kept(opened) == {"b": [3, 4], "c": [1, 2, 3], "present": []}
    opened.close()


def test_without_bounds_all_is_kept(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 4})
    opened = begin(tmp_path, days=1e6)
    assert kept(opened) == {"a": [1, 2, 3], "b": [1, 2, 3, 4], "present": []}
    opened.close()


def test_records_that_are_too_old_leave(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3}, days=1)
    fill(tmp_path, {"b": 3}, days=8)
    opened = begin_aged(tmp_path, now=12, bound=10)
    assert list(kept(opened)) == ["b", "present"]
    opened.close()
    opened = begin_aged(tmp_path, now=100, bound=10)
    assert list(kept(opened)) == ["present"]
    opened.close()


def begin_aged(directory: Path, *, now: float, bound: int) -> Store:
    opened = Store(
        directory, session="present", settings=JournalSettings(records=0, days=bound), clock=lambda: now * DAY
    )
    opened.begin()
    return opened


def test_the_present_session_and_unsent_verdicts_stay_whatever_the_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PRUNE_EVERY", 4)
    fill(tmp_path, {"a": 3})
    opened = begin(tmp_path, records=2)
    opened.append(record(1, report=REPORT))
    for number in range(2, 10):
        opened.append(record(number))
    assert kept(opened) == {"present": list(range(1, 10))}
    assert opened.reports() == (REPORT,)
    opened.close()


def test_a_long_session_is_pruned_behind_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PRUNE_EVERY", 4)
    fill(tmp_path, {"a": 5})
    opened = begin(tmp_path, records=6)
    for number in range(1, 4):
        opened.append(record(number))
    assert len(kept(opened)["a"]) == 5
    opened.append(record(4))
    assert kept(opened) == {"a": [4, 5], "present": [1, 2, 3, 4]}
    opened.close()


def test_the_memory_of_settled_archives_is_bounded_and_loses_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SETTLED_KEPT", 2)
    times = iter(range(100))
    opened = Store(tmp_path, session="one", clock=lambda: float(next(times)))
    for number, digest in enumerate("abca", 1):
        opened.append(record(number, settled=Settled("exp", digest)))
    opened.close()
    opened = begin(tmp_path)
    assert opened.settled() == (("exp", "c"), ("exp", "a"))
    opened.close()


def test_a_clock_that_was_wrong_for_a_while_costs_no_young_records(tmp_path: Path) -> None:
    """A machine without a battery begins in 1970, until it has asked for the time."""
    fill(tmp_path, {"a": 3}, days=20_000)
    fill(tmp_path, {"b": 3}, days=0)
    fill(tmp_path, {"c": 3}, days=20_001)
    opened = begin_aged(tmp_path, now=20_002, bound=400)
    assert list(kept(opened)) == ["a", "b", "c", "present"]
    opened.close()
