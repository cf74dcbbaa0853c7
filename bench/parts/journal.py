"""One journaled transition against a bare SQLite commit of the same bytes, in turn, in this process."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple
from pathlib import Path

from fedenvoy.commands import Record
from fedenvoy.store import Store
from fedenvoy_statecharts import Event, State

from bench.bed import Bed
from bench.records import FEDENVOY, Series

BARE = "a bare SQLite commit"
RECORDS = 300
"""Transitions in one sample, which is their median."""
CAUSE = "UNAVAILABLE: the director at director.example.org:50050 cannot be reached: connection refused"


def measure(bed: Bed) -> tuple[Series, ...]:
    """Write to two fresh files in turn; both are in WAL mode, with full synchronisation."""
    samples: dict[str, list[float]] = {FEDENVOY: [], BARE: []}
    for _ in range(bed.runs):
        for name, seconds in _sample(bed.directory("journal")).items():
            samples[name].append(round(statistics.median(seconds) * 1e6, 1))
    note = "both wait for the disk, which is most of the time and differs from one to the next"
    return (Series("one transition, on the disk", "\N{MICRO SIGN}s", samples, note=note),)


def _sample(place: Path) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {FEDENVOY: [], BARE: []}
    with closing(Store(place / "state", session="68cafe00-0a0a0a0a")) as store, closing(_bare(place)) as bare:
        store.begin()
        store.append(_record(1))
        (entry,) = store.journal()
        line = "|".join(map(str, astuple(entry))).encode()
        for number in range(2, RECORDS + 2):
            record = _record(number)
            seconds[FEDENVOY].append(_timed(lambda: store.append(record)))  # noqa: B023 - called at once
            seconds[BARE].append(_timed(lambda: bare.execute("INSERT INTO lines VALUES (?)", (line,))))
    return seconds


def _bare(place: Path) -> sqlite3.Connection:
    db = sqlite3.connect(place / "bare.sqlite3", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE lines (line BLOB NOT NULL)")
    return db


def _record(number: int) -> Record:
    """A dial that failed: as long as most records."""
    state = State.DISCONNECTED
    return Record(
        number=number,
        entry=number,
        run=0,
        link=number,
        row="R04",
        source=state,
        event=Event.REGISTRATION_FAILED,
        target=state,
        attempt=number,
        cause=CAUSE,
    )


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
