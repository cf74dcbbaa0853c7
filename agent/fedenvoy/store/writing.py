"""What a record becomes in the journal's file: a line, and what it changes in outbox, memory and marks."""

from __future__ import annotations

import sqlite3

from fedenvoy_statecharts import State

from fedenvoy.commands import Record

__all__ = ["insert", "insert_line", "is_plain", "text"]

_INSERT = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def is_plain(record: Record) -> bool:
    """Whether a record is one line and nothing else, as most are."""
    more = record.report or record.settled or record.delivered or record.forgotten or record.paused is not None
    return not more and record.target is not State.STOPPED


def _line(session: int, record: Record, now: float) -> tuple[object, ...]:
    return (
        session,
        record.number,
        now,
        record.entry,
        record.run,
        record.link,
        record.row,
        record.source.value if record.source else None,
        record.event.value,
        record.target.value,
        int(record.internal),
        record.experiment,
        record.attempt,
        record.cause,
        record.digest or (record.report.digest if record.report else ""),
        record.outcome,
    )


def insert_line(db: sqlite3.Connection, session: int, record: Record, now: float) -> None:
    """Write the line alone; a transaction by itself where none is open."""
    _execute(db, _INSERT, _line(session, record, now))


def insert(db: sqlite3.Connection, session: int, record: Record, now: float) -> None:
    """Write the line, and what the record does to outbox, memory and marks; part of a transaction."""
    insert_line(db, session, record, now)
    report = record.report
    if report:
        row = (report.id, now, report.experiment, report.verdict.value, report.code, report.text, report.digest)
        _execute(db, "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    if record.settled:
        memory = (record.settled.experiment, record.settled.digest, now)
        _execute(db, "INSERT OR REPLACE INTO settled VALUES (?, ?, ?)", memory)
    if record.delivered:
        _execute(db, "DELETE FROM outbox WHERE id = ?", (record.delivered,))
    if record.paused is not None:
        db.execute("DELETE FROM marks WHERE name = 'paused'")
        if record.paused:
            db.execute("INSERT INTO marks VALUES ('paused', '', ?)", (now,))
    if record.forgotten:
        _execute(db, "DELETE FROM settled WHERE experiment = ?", (record.forgotten,))


def _execute(db: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> None:
    """Execute a statement with text from the outside: what is no valid Unicode is written escaped."""
    try:
        db.execute(statement, values)
    except UnicodeEncodeError:
        db.execute(statement, tuple(text(value) if isinstance(value, str) else value for value in values))


def text(value: str) -> str:
    """Give text as it is stored: what is no valid Unicode is escaped."""
    return value.encode("utf-8", "backslashreplace").decode()
