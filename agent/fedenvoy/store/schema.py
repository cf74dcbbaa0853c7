"""The tables of the journal's file, by version, and how an older file becomes one of the present version.

Each step from one version to the next runs in one transaction: after a power cut the file is of one or the other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from fedenvoy.store.endings import how_ended
from fedenvoy.store.transactions import transaction

__all__ = ["VERSION", "upgrade"]

VERSION = 2

_JOURNAL = """
CREATE TABLE journal (
    session INTEGER NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL, entry INTEGER NOT NULL, run INTEGER NOT NULL,
    link INTEGER NOT NULL, row TEXT NOT NULL, source TEXT, event TEXT NOT NULL, target TEXT NOT NULL,
    internal INTEGER NOT NULL, experiment TEXT NOT NULL, attempt INTEGER NOT NULL, cause TEXT NOT NULL,
    digest TEXT NOT NULL, outcome TEXT NOT NULL, PRIMARY KEY (session, number)
) WITHOUT ROWID
"""
_SESSIONS = """
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, software TEXT NOT NULL, began_at REAL NOT NULL, ended_at REAL,
    ended TEXT NOT NULL DEFAULT '', exit_code INTEGER, experiment TEXT NOT NULL DEFAULT '',
    run INTEGER NOT NULL DEFAULT 0
)
"""
_OUTBOX = """
CREATE TABLE outbox (
    id TEXT PRIMARY KEY, at REAL NOT NULL, experiment TEXT NOT NULL, verdict TEXT NOT NULL, code INTEGER NOT NULL,
    text TEXT NOT NULL, digest TEXT NOT NULL
)
"""
_SETTLED = """
CREATE TABLE settled (
    experiment TEXT NOT NULL, digest TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (experiment, digest)
)
"""
_MARKS = "CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL)"
_FRESH = (_JOURNAL, _SESSIONS, _OUTBOX, _SETTLED, _MARKS)


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """Bring a file from `version` (0: it is new) to the present one."""
    while version < VERSION:
        with transaction(db):
            version = _STEPS[version](db)
            db.execute(f"PRAGMA user_version = {version}")


def _create(db: sqlite3.Connection) -> int:
    for statement in _FRESH:
        db.execute(statement)
    return VERSION


def _from_1(db: sqlite3.Connection) -> int:
    """Sessions become rows of their own, which say how each ended; a record names its session by number."""
    db.execute("ALTER TABLE journal RENAME TO journal_1")
    for statement in (_JOURNAL, _SESSIONS, _MARKS):
        db.execute(statement)
    db.execute(
        "INSERT INTO sessions (id, software, began_at) "
        "SELECT session, '', min(at) FROM journal_1 GROUP BY session ORDER BY min(id)"
    )
    db.execute(
        "INSERT INTO journal SELECT s.number, j.number, at, entry, j.run, link, row, source, event, target, internal, "
        "j.experiment, attempt, cause, digest, outcome FROM journal_1 j JOIN sessions s ON s.id = j.session"
    )
    last = "SELECT session, at, source, event FROM journal WHERE target = 'Stopped'"
    for session, at, source, event in db.execute(last).fetchall():
        ended, code = how_ended(source, event)
        told = (at, ended, code, session)
        db.execute("UPDATE sessions SET ended_at = ?, ended = ?, exit_code = ? WHERE number = ?", told)
    db.execute("DROP TABLE journal_1")
    return 2


_STEPS: Mapping[int, Callable[[sqlite3.Connection], int]] = {0: _create, 1: _from_1}
"""What leads on from each version; gives the version that it leads to."""
