"""The journal and the outbox, in one SQLite file that is written before anything else happens.

A transition, the verdict it makes and the memory it leaves are one transaction: after a crash they are all there or
none is. The file is in WAL mode with full synchronisation, so a record that was acknowledged survives a power cut.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fedenvoy.commands import Record, Report, Verdict
from fedenvoy.errors import StoreError

__all__ = ["JournalEntry", "Store"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE journal (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, session TEXT NOT NULL, number INTEGER NOT NULL, entry INTEGER NOT NULL,
    run INTEGER NOT NULL, link INTEGER NOT NULL, row TEXT NOT NULL, source TEXT, event TEXT NOT NULL,
    target TEXT NOT NULL, internal INTEGER NOT NULL, experiment TEXT NOT NULL, attempt INTEGER NOT NULL,
    cause TEXT NOT NULL, digest TEXT NOT NULL, outcome TEXT NOT NULL, UNIQUE (session, number)
);
CREATE TABLE outbox (
    id TEXT PRIMARY KEY, at REAL NOT NULL, experiment TEXT NOT NULL, verdict TEXT NOT NULL, code INTEGER NOT NULL,
    text TEXT NOT NULL, digest TEXT NOT NULL
);
CREATE TABLE settled (
    experiment TEXT NOT NULL, digest TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (experiment, digest)
);
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


class Store:
    """One open store; used by the owner thread alone.

    Args:
        directory: Where the file lies; made when missing.
        session: Id under which this session's records are written.
        clock: Gives wall-clock seconds since the epoch.

    Raises:
        StoreError: The file cannot be opened or is of a newer version.

    """

    def __init__(self, directory: Path, *, session: str, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._clock = clock
        self._path = directory / "journal.sqlite3"
        with self._failures("opened"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._db = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._set_aside(error)
                self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=5.0)
        try:
            self._path.chmod(0o600)
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreError(f"{self._path}: this file system does not support SQLite's WAL mode; use a local disk")
            db.execute("PRAGMA synchronous = FULL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise StoreError(f"{self._path} was written by a newer fedenvoy (format {version}): upgrade this one")
            if version == 0:
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            db.execute("SELECT count(*) FROM journal").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Keep a damaged file under another name; the agent goes on with a new one."""
        aside = self._path.with_name(f"{self._path.name}.damaged-{int(self._clock())}")
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        logger.error("the journal is damaged (%s); it is kept as %s and a new one is begun", error, aside)

    @contextlib.contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path} cannot be {what}: {error}") from error

    def append(self, record: Record) -> None:
        """Write a record, with the report and the memory it carries, in one transaction.

        Raises:
            StoreError: Nothing of it was written.

        """
        with self._failures("written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._insert(record)
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _insert(self, record: Record) -> None:
        now, report = self._clock(), record.report
        values = (
            now,
            self._session,
            record.number,
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
            report.digest if report else "",
            record.outcome,
        )
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO journal VALUES (NULL, {marks})", _storable(values))  # noqa: S608 - only marks
        if report:
            row = (report.id, now, report.experiment, report.verdict.value, report.code, report.text, report.digest)
            self._db.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)", _storable(row))
        if record.settled:
            memory = (record.settled.experiment, record.settled.digest, now)
            self._db.execute("INSERT OR REPLACE INTO settled VALUES (?, ?, ?)", _storable(memory))
        if record.delivered:
            self._db.execute("DELETE FROM outbox WHERE id = ?", (record.delivered,))

    def reports(self) -> tuple[Report, ...]:
        """Give the verdicts that have not left the outbox, oldest first."""
        with self._failures("read"):
            rows = self._db.execute(
                "SELECT id, experiment, verdict, code, text, digest FROM outbox ORDER BY at, id"
            ).fetchall()
        return tuple(Report(i, name, Verdict(verdict), *rest) for i, name, verdict, *rest in rows)

    def settled(self) -> tuple[tuple[str, str], ...]:
        """Give (experiment, digest) of every archive that ended here by its own fault."""
        with self._failures("read"):
            return tuple(self._db.execute("SELECT experiment, digest FROM settled ORDER BY at").fetchall())

    def journal(self, session: str | None = None) -> tuple[JournalEntry, ...]:
        """Give the records of one session, by default this one's, in order."""
        with self._failures("read"):
            rows = self._db.execute(
                "SELECT at, session, number, entry, run, link, row, source, event, target, internal, experiment, "
                "attempt, cause, digest, outcome FROM journal WHERE session = ? ORDER BY number",
                (session or self._session,),
            ).fetchall()
        return tuple(replace(JournalEntry(*row), internal=bool(row[10])) for row in rows)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _storable(values: tuple[object, ...]) -> tuple[object, ...]:
    """Make text from the outside storable: what is no valid Unicode is written escaped."""
    return tuple(v.encode("utf-8", "backslashreplace").decode() if isinstance(v, str) else v for v in values)
