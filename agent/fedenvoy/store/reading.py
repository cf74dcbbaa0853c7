"""What can be read from the journal's file, by the agent itself and by whoever wants to know how it fares."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from fedenvoy.commands import Report, Verdict
from fedenvoy.store.failures import told

__all__ = ["JOURNAL", "JournalEntry", "Reading", "SessionEntry"]

JOURNAL = "journal.sqlite3"
"""The file's name."""
_LINES = """
    SELECT at, id, j.number, entry, j.run, link, row, source, event, target, internal, j.experiment, attempt, cause,
        digest, outcome
    FROM journal j JOIN sessions s ON s.number = j.session
"""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One journal line as it is on disk; the fields are those of `commands.Record`, as text.

    Attributes:
        at: Wall-clock seconds since the epoch.
        session: Id of the session that wrote it.

    """

    at: float
    session: str
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
    attempt: int
    cause: str
    digest: str
    outcome: str


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """One session of the agent.

    Attributes:
        id: The name its records carry.
        software: The version that ran; empty where that is not known.
        began_at: Wall-clock seconds since the epoch.
        ended_at: Likewise; of a session that was killed, when it wrote its last record. None: it has not ended.
        ended: How: "stopped", "aborted", "shard", "refused", "link", "store" (as the exit codes), "killed"; empty
            while it lasts.
        exit_code: What the process exited with; None while it lasts, and where it was killed.
        experiment: Name of the run it had in hand when it ended, without a verdict; empty when none.
        run: That run's number; 0 when none.

    """

    id: str
    software: str
    began_at: float
    ended_at: float | None
    ended: str
    exit_code: int | None
    experiment: str
    run: int


class Reading:
    """Reads from a file that is open.

    Args:
        db: The file, of the present version.
        path: Its name, for people.

    """

    LINES = _LINES
    """What asks for records, as `JournalEntry` has its fields."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def reports(self) -> tuple[Report, ...]:
        """Give the verdicts that have not left the outbox, oldest first."""
        with told(self._path, "read"):
            rows = self._db.execute(
                "SELECT id, experiment, verdict, code, text, digest, at FROM outbox ORDER BY at, id"
            ).fetchall()
        return tuple(Report(i, name, Verdict(verdict), *rest) for i, name, verdict, *rest in rows)

    def settled(self) -> tuple[tuple[str, str], ...]:
        """Give (experiment, digest) of every archive that ended here by its own fault.

        The digest is empty where only the name is to rest.
        """
        with told(self._path, "read"):
            return tuple(self._db.execute("SELECT experiment, digest FROM settled ORDER BY at").fetchall())

    def paused(self) -> bool:
        """Whether the operator paused the node and has not resumed it."""
        with told(self._path, "read"):
            return self._db.execute("SELECT 1 FROM marks WHERE name = 'paused'").fetchone() is not None

    def sessions(self, last: int | None = None) -> tuple[SessionEntry, ...]:
        """Give the sessions, oldest first.

        Args:
            last: Only so many of the newest.

        """
        with told(self._path, "read"):
            rows = self._db.execute(
                "SELECT id, software, began_at, ended_at, ended, exit_code, experiment, run FROM sessions "
                "ORDER BY number DESC LIMIT ?",
                (-1 if last is None else last,),
            ).fetchall()
        return tuple(SessionEntry(*row) for row in reversed(rows))

    def lines(self, session: str) -> tuple[JournalEntry, ...]:
        """Give the records of one session, in order."""
        return self._entries("WHERE s.id = ? ORDER BY j.number", (session,))

    def latest(self, count: int, *, internal: bool) -> tuple[JournalEntry, ...]:
        """Give the last records of all sessions, the newest first.

        Args:
            count: How many, at most.
            internal: Whether steps within a state count.

        """
        which = "WHERE internal <= ? ORDER BY j.session DESC, j.number DESC LIMIT ?"
        return self._entries(which, (int(internal), count))

    def _entries(self, which: str, values: tuple[object, ...]) -> tuple[JournalEntry, ...]:
        with told(self._path, "read"):
            rows = self._db.execute(f"{_LINES} {which}", values).fetchall()
        return tuple(replace(JournalEntry(*row), internal=bool(row[10])) for row in rows)

    def close(self) -> None:
        """Close the file."""
        self._db.close()
