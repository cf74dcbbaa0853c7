"""Bounds on what is kept for ever: old records leave, the present session's and unsent verdicts never do."""

from __future__ import annotations

import sqlite3

from fedenvoy.config import JournalSettings
from fedenvoy.store.transactions import transaction

__all__ = ["SETTLED_KEPT", "prune"]

SETTLED_KEPT = 5000
"""Archives remembered as ended here by their own fault; the oldest are forgotten."""
_DAY = 24 * 3600.0


def prune(db: sqlite3.Connection, settings: JournalSettings, *, present: int, now: float) -> int:
    """Remove what is beyond the bounds, in one transaction.

    Args:
        db: The journal.
        settings: How many records are kept, and for how long.
        present: Number of the session that is under way; all of it stays.
        now: Wall-clock seconds since the epoch.

    Returns:
        How many records were removed.

    """
    with transaction(db):
        removed = _too_many(db, settings.records, present) if settings.records else 0
        removed += _too_old(db, now - settings.days * _DAY, present) if settings.days else 0
        if removed:
            db.execute(
                "DELETE FROM sessions WHERE number < ? AND number NOT IN (SELECT DISTINCT session FROM journal)",
                (present,),
            )
        db.execute(
            "DELETE FROM settled WHERE rowid IN (SELECT rowid FROM settled ORDER BY at DESC LIMIT -1 OFFSET ?)",
            (SETTLED_KEPT,),
        )
    return removed


def _too_many(db: sqlite3.Connection, kept: int, present: int) -> int:
    row = db.execute(
        "SELECT session, number FROM journal ORDER BY session DESC, number DESC LIMIT 1 OFFSET ?", (kept,)
    ).fetchone()
    return 0 if row is None else _remove(db, "(session, number) <= (?, ?)", (*row, present))


def _too_old(db: sqlite3.Connection, before: float, present: int) -> int:
    """Remove from the oldest record to the first that is young enough: a clock that was once wrong costs nothing."""
    row = db.execute(
        "SELECT session, number FROM journal WHERE at >= ? ORDER BY session, number LIMIT 1", (before,)
    ).fetchone()
    which, values = ("1", ()) if row is None else ("(session, number) < (?, ?)", tuple(row))
    return _remove(db, which, (*values, present))


def _remove(db: sqlite3.Connection, which: str, values: tuple[object, ...]) -> int:
    return db.execute(f"DELETE FROM journal WHERE {which} AND session < ?", values).rowcount  # noqa: S608 - ours
