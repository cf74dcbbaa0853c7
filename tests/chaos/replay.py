"""Reads a node's journal from disk, and says what in it is not legal by the table.

It knows the table and the file, and nothing of the agent: neither its core nor its store is asked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from fedenvoy_statecharts import LIFECYCLE, WAITING, Effect, Event, Row, State

__all__ = ["Line", "illegal", "read_ends", "read_journal", "read_outbox", "sent", "verdicts"]

_COLUMNS = "session, number, entry, run, link, row, source, event, target, internal, experiment, cause, outcome, at"
_ROWS: dict[str, Row] = dict(LIFECYCLE.named_rows())
_VERDICTS = frozenset(effect for effect in Effect if effect.name.startswith("VERDICT_"))
_TOLD_BY_REPORT = frozenset({Effect.VERDICT_FAILED, Effect.VERDICT_REJECTED, Effect.VERDICT_CANCELLED})
_FREE = frozenset(map(str, (*WAITING, State.REPORTING, State.STOPPED)))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal, in the file's own words; `at` is in seconds since the epoch."""

    session: int
    number: int
    entry: int
    run: int
    link: int
    row: str
    source: str | None
    event: str
    target: str
    internal: bool
    experiment: str
    cause: str
    outcome: str
    at: float

    def __str__(self) -> str:
        return f"{self.session} {self.number} {self.row} {self.source} --{self.event}--> {self.target}"


def read_journal(path: Path) -> tuple[Line, ...]:
    """Read all lines of a journal that may be in use, in the order in which they were written."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM journal ORDER BY session, number").fetchall()
    except sqlite3.OperationalError:
        return ()  # it is being made, or is just being opened by its owner
    return tuple(Line(*row) for row in rows)


def read_outbox(path: Path) -> tuple[str, ...]:
    """Read the ids of the verdicts that wait to be sent."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
        return tuple(identity for (identity,) in db.execute("SELECT id FROM outbox ORDER BY id"))


def read_ends(path: Path) -> tuple[str, ...]:
    """Read how each session ended, in one word; empty where it goes on."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
        return tuple(word for (word,) in db.execute("SELECT ended FROM sessions ORDER BY number"))


def verdicts(lines: Sequence[Line], *, reported: bool = False) -> list[Line]:
    """Give the lines that made a verdict; with `reported` only those of which a failure report tells."""
    wanted = _TOLD_BY_REPORT if reported else _VERDICTS
    return [line for line in lines if line.row and wanted.intersection(_ROWS[line.row].effects)]


def sent(lines: Sequence[Line]) -> list[Line]:
    """Give the lines with which a verdict left the outbox."""
    return [line for line in lines if line.outcome]


def illegal(lines: Sequence[Line], *, broken_off: int) -> list[str]:
    """Give everything that is wrong with a journal.

    Args:
        lines: All of it.
        broken_off: How many sessions may have ended anywhere: by a kill, or because they go on.

    """
    found: list[str] = []
    sessions = [(name, list(group)) for name, group in groupby(lines, key=lambda line: line.session)]
    for (_, earlier), (_, later) in pairwise(sessions):
        if later[0].at < earlier[-1].at:
            found.append(f"{later[0]} comes before {earlier[-1]}")
    for _, session in sessions:
        found += _first(session[0])
        for last, line in pairwise(session):
            found += _next(last, line)
        found += _runs(session)
    unfinished = [name for name, session in sessions if session[-1].target != State.STOPPED]
    if len(unfinished) > broken_off:
        found.append(f"{len(unfinished)} sessions do not end in Stopped, of which {broken_off} may: {unfinished}")
    return found


def _first(line: Line) -> Iterator[str]:
    right = (1, 1, 0, 0, None, LIFECYCLE.initial.event, LIFECYCLE.initial.target)
    told = (line.number, line.entry, line.run, line.link, line.source, line.event, line.target)
    if told != right:
        yield f"a session begins with {line}"


def _next(last: Line, line: Line) -> Iterator[str]:
    row = _ROWS.get(line.row)
    if row is None:
        yield f"there is no row for {line}"
        return
    if (line.source, line.event, line.target, line.internal) != (row.source, row.event, row.goal, row.internal):
        yield f"row {line.row} does not say {line}"
    if line.source != last.target:
        yield f"{line} follows {last}"
    if line.number != last.number + 1:
        yield f"a line is missing before {line}"
    if line.entry != last.entry + (not row.internal):
        yield f"entry {line.entry} follows {last.entry} by {line}"
    if line.link < last.link:
        yield f"link {line.link} follows {last.link} by {line}"
    if last.target == State.STOPPED:
        yield f"{line} comes after the end"


def _runs(session: Sequence[Line]) -> Iterator[str]:
    """Runs are numbered upwards, one at a time; each ends by one verdict, or is dropped, or is there at the end."""
    opened = newest = 0
    for line in session:
        effects = _ROWS[line.row].effects if line.row in _ROWS else ()
        if Effect.BEGIN_RUN in effects:
            if opened or line.run <= newest:
                yield f"run {line.run} begins by {line}, while {opened} is open and {newest} was the last"
            opened = newest = line.run
        if _VERDICTS.intersection(effects):
            if line.run != opened:
                yield f"a verdict for run {line.run} by {line}, while {opened} is open"
            opened = 0
        if Effect.DROP_RUN in effects:
            opened = 0
        if opened and line.target in _FREE and line.event != Event.STORE_FAILED and line.target != State.STOPPED:
            yield f"run {opened} is open in {line.target} after {line}"
