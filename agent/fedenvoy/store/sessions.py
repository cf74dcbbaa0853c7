"""Beginnings and ends of sessions: a session that did not end is closed by the next one, with all that follows from it.

One transaction closes the dead session and begins the new one, so that a second death in between changes nothing. It
runs before the director is dialled for the first time.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from fedenvoy_statecharts import BUSY

from fedenvoy.commands import Record, Verdict
from fedenvoy.store.endings import KILLED, STOPPED, how_ended

__all__ = ["LastSession", "begin", "end", "number_of"]

_BUSY = frozenset(state.value for state in BUSY)


@dataclass(frozen=True, slots=True)
class LastSession:
    """How the session before this one ended, where that was not a stop.

    Attributes:
        id: The session.
        ended: "killed", "aborted", "store" or another word for its end.
        experiment: Name of the run it had in hand; empty when none.
        told: Whether a verdict on that run entered the outbox now.

    """

    id: str
    ended: str
    experiment: str
    told: bool


def number_of(db: sqlite3.Connection, session: str, software: str, now: float) -> int:
    """Give the number of a session, which begins now unless it has begun."""
    db.execute("INSERT OR IGNORE INTO sessions (id, software, began_at) VALUES (?, ?, ?)", (session, software, now))
    (number,) = db.execute("SELECT number FROM sessions WHERE id = ?", (session,)).fetchone()
    return int(number)


def begin(db: sqlite3.Connection, session: str, software: str, now: float, *, verdict: str) -> LastSession | None:
    """Close the sessions that did not end, and begin one; part of a transaction.

    Args:
        db: The journal.
        session: The id of the one that begins.
        software: The version that begins it.
        now: Wall-clock seconds since the epoch.
        verdict: What the director is told of a run that the last session left unfinished; empty: nothing, it will be
            taken up again when it is offered.

    """
    for (number,) in db.execute("SELECT number FROM sessions WHERE ended_at IS NULL").fetchall():
        _close(db, number)
    row = db.execute("SELECT ended, id, number, experiment, run FROM sessions ORDER BY number DESC LIMIT 1").fetchone()
    number_of(db, session, software, now)
    db.execute("DELETE FROM settled WHERE digest = ''")  # a rest is for one session
    if row is None or row[0] == STOPPED:
        return None
    ended, last, number, experiment, run = row
    if experiment and verdict:
        (digest,) = db.execute(
            "SELECT digest FROM journal WHERE session = ? AND run = ? ORDER BY number DESC LIMIT 1", (number, run)
        ).fetchone() or ("",)
        report = (f"{last}-{run}", now, experiment, Verdict.FAILED.value, 1, verdict, digest)
        db.execute("INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)", report)
        db.execute("INSERT INTO settled VALUES (?, '', ?)", (experiment, now))
    return LastSession(last, ended, experiment, told=bool(experiment and verdict))


def _close(db: sqlite3.Connection, number: int) -> None:
    """Write the end of a session that was killed: it ended with its last record, as far as anybody knows."""
    last = db.execute(
        "SELECT at, target, experiment, run FROM journal WHERE session = ? ORDER BY number DESC LIMIT 1", (number,)
    ).fetchone()
    at, experiment, run = None, "", 0
    if last is not None:
        at = last[0]
        if last[1] in _BUSY:
            experiment, run = last[2:]
    db.execute(
        "UPDATE sessions SET ended_at = coalesce(?, began_at), ended = ?, experiment = ?, run = ? WHERE number = ?",
        (at, KILLED, experiment, run, number),
    )


def end(db: sqlite3.Connection, number: int, record: Record, experiment: str, now: float) -> None:
    """Write how a session ends with the record that ends it; part of its transaction.

    Args:
        db: The journal.
        number: The session.
        record: Its last record.
        experiment: The record's experiment, as it is stored.
        now: Wall-clock seconds since the epoch.

    """
    source = record.source.value if record.source else None
    ended, code = how_ended(source, record.event.value)
    left = source in _BUSY and record.report is None
    db.execute(
        "UPDATE sessions SET ended_at = ?, ended = ?, exit_code = ?, experiment = ?, run = ? WHERE number = ?",
        (now, ended, code, experiment if left else "", record.run if left else 0, number),
    )
