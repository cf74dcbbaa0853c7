"""What a node did last, read by another process from the files of a living agent or a dead one. Nothing is written.

A journal that an agent has open, or that one left when it was killed, is read with its write-ahead log; one that was
closed has none, and is then read as it lies there, so that looking leaves no file behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedenvoy.commands import Report
from fedenvoy.errors import StoreError
from fedenvoy.store.failures import told
from fedenvoy.store.lock import LOCK
from fedenvoy.store.reading import JOURNAL, JournalEntry, Reading, SessionEntry
from fedenvoy.store.schema import VERSION

__all__ = ["History", "Remembered", "approvals", "holder", "read_history", "reading_of"]

_CONTACT = "SELECT at FROM journal WHERE event = 'health_checked' ORDER BY session DESC, number DESC LIMIT 1"
_BEGUN = """
    SELECT max(at) FROM journal WHERE session = (SELECT number FROM sessions WHERE id = ?) AND run = ?
    AND event = 'experiment_offered' AND NOT internal
"""

_APPROVED = """
    SELECT experiment, at FROM journal WHERE event = 'plan_approved' ORDER BY session DESC, number DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """An archive that ended here by its own fault, and is not run again unchanged.

    Attributes:
        digest: SHA-256 of the archive, hexadecimal; empty where only the name is to rest.
        at: Since when, wall-clock seconds.

    """

    experiment: str
    digest: str
    at: float


@dataclass(frozen=True, slots=True)
class History:
    """What a node's files tell; times are wall-clock seconds.

    Attributes:
        steps: The last transitions, oldest first; steps within a state are left out.
        last: The last record of all, steps within a state included.
        session: The last session.
        contact: When a health check was last answered.
        begun: When the run of `last` began.
        outbox: Verdicts that wait, oldest first.
        settled: Archives that are not run again, oldest first.
        paused: Whether the operator paused the node and did not resume it.

    """

    steps: tuple[JournalEntry, ...] = ()
    last: JournalEntry | None = None
    session: SessionEntry | None = None
    contact: float | None = None
    begun: float | None = None
    outbox: tuple[Report, ...] = ()
    settled: tuple[Remembered, ...] = ()
    paused: bool = False


def read_history(directory: Path, steps: int = 10) -> History:
    """Read a node's files; a directory without a journal has an empty history.

    Args:
        directory: The node's state directory.
        steps: How many transitions.

    Raises:
        StoreError: They cannot be read.

    """
    path = directory.absolute() / JOURNAL
    with told(path, "read"):
        if not path.exists():
            return History()
        with reading_of(path) as db:
            return _history(db, path, steps)


def approvals(directory: Path, most: int = 10_000) -> tuple[tuple[str, float], ...]:
    """Give the experiments that were approved here, with the time, oldest first; of living agents, too.

    Args:
        directory: The node's state directory.
        most: Only so many of the newest.

    Raises:
        StoreError: They cannot be read.

    """
    path = directory.absolute() / JOURNAL
    with told(path, "read"):
        if not path.exists():
            return ()
        with reading_of(path) as db:
            return tuple(db.execute(_APPROVED, (most,)).fetchall())[::-1]


@contextmanager
def reading_of(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file, and let all that is read in the block be of one moment."""
    log = path.with_name(f"{path.name}-wal")
    way = "mode=ro" if log.exists() else "immutable=1"
    with closing(sqlite3.connect(f"{path.as_uri()}?{way}", uri=True, isolation_level=None, timeout=2.0)) as db:
        db.execute("BEGIN")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in {0, VERSION}:
            whose = "a newer fedenvoy: upgrade this one" if version > VERSION else "an older fedenvoy: start it first"
            raise StoreError(f"{path} was written by {whose} (format {version}, this one reads {VERSION})")
        yield db


def _history(db: sqlite3.Connection, path: Path, steps: int) -> History:
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone() is None:
        return History()  # it is being made at this moment
    reading = Reading(db, path)
    last = next(iter(reading.latest(1, internal=True)), None)
    begun = None if last is None else _moment(db, _BEGUN, (last.session, last.run))
    return History(
        steps=reading.latest(steps, internal=False)[::-1],
        last=last,
        session=next(iter(reading.sessions(1)), None),
        contact=_moment(db, _CONTACT),
        begun=begun,
        outbox=reading.reports(),
        settled=tuple(Remembered(*row) for row in db.execute("SELECT experiment, digest, at FROM settled ORDER BY at")),
        paused=reading.paused(),
    )


def _moment(db: sqlite3.Connection, question: str, values: tuple[object, ...] = ()) -> float | None:
    row = db.execute(question, values).fetchone()
    return row[0] if row else None


def holder(directory: Path) -> int | None:
    """Give the process that holds a state directory as its agent, without ever standing in the way of one that starts.

    None where nobody does, or where the holder cannot be seen from here (it may live in another container).
    """
    path = directory / LOCK
    try:
        inode, process = path.stat().st_ino, int(path.read_text(encoding="ascii"))
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    for fields in map(str.split, locks):
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[4] == str(process) and fields[5].endswith(f":{inode}"):
            return process
    return None
