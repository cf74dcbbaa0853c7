"""The journal and the outbox, in one SQLite file that is written before anything else happens.

A transition, the verdict it makes and the memory it leaves are one transaction: after a crash they are all there or
none is. The file is in WAL mode with full synchronisation, so a record that was acknowledged survives a power cut.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from fedenvoy_statecharts import State, __version__

from fedenvoy.commands import Record
from fedenvoy.config import JournalSettings
from fedenvoy.errors import StoreError
from fedenvoy.store import damage, sessions
from fedenvoy.store.endings import STOPPED
from fedenvoy.store.failures import is_damage, told
from fedenvoy.store.filesystem import refuse_network
from fedenvoy.store.reading import JOURNAL, JournalEntry, Reading
from fedenvoy.store.reserve import Reserve
from fedenvoy.store.retention import prune
from fedenvoy.store.schema import VERSION, upgrade
from fedenvoy.store.transactions import transaction
from fedenvoy.store.writing import insert, insert_line, is_plain, text

__all__ = ["Store"]

logger = logging.getLogger(__name__)

PRUNE_EVERY = 10_000
"""Records between two looks at the bounds while a session lasts."""


class Store(Reading):
    """One open store; used by the owner thread alone.

    Args:
        directory: Where the file lies; made when missing.
        session: Id under which this session's records are written.
        settings: How long records are kept.
        clock: Gives wall-clock seconds since the epoch.

    Raises:
        StoreError: The file cannot be opened or is of a newer version.

    """

    def __init__(
        self,
        directory: Path,
        *,
        session: str,
        settings: JournalSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._settings = settings or JournalSettings()
        self._clock = clock
        self._spare, self._last = Reserve(directory / "reserve-1"), Reserve(directory / "reserve-2")
        self._number = 0
        self._appended = 0
        self.short_of_room = False
        """Whether room was given up for a record: there is some for a few more, until `regain` says otherwise."""
        self.out_of_room = False
        """Whether that was the last room: the session must end now, while its last record still fits."""
        path = directory / JOURNAL
        refuse_network(directory)
        with told(path, "opened"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.is_dir():
                raise StoreError(f"{path} is a directory, where the journal's file is expected: move it away")
            super().__init__(self._open(path), path)

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            return _connect(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return self._begin_anew(path, error)

    def _begin_anew(self, path: Path, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """Set a damaged file aside, and go on with a new one that has what could be saved."""
        saved = damage.salvage(path)
        aside = damage.set_aside(path, self._clock())
        db = _connect(path)
        try:
            verdicts = damage.restore(db, saved)
        except BaseException:
            db.close()
            raise
        words = "the journal is damaged (%s); it is kept as %s and a new one is begun, with %d unsent verdicts from it"
        logger.error(words, error, aside, verdicts)
        return db

    def begin(self, *, verdict: str = "") -> sessions.LastSession | None:
        """Begin the session: close one that did not end, make the reserve, apply the bounds.

        Args:
            verdict: What the director is to be told of a run that the last session left unfinished; empty: nothing.

        Returns:
            How the last session ended, unless it was stopped or there was none.

        Raises:
            StoreError: It cannot be written.

        """
        with told(self._path, "written"):
            try:
                last = self._begin(verdict)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._db.close()
                self._db = self._begin_anew(self._path, error)
                last = self._begin(verdict)
        if not self.regain():
            logger.warning(
                "there is no room for %s: on a full disk the end of a session may be lost", self._path.parent
            )
        self._prune()
        return last

    def _begin(self, verdict: str) -> sessions.LastSession | None:
        now = self._clock()
        with transaction(self._db):
            last = sessions.begin(self._db, self._session, __version__, now, verdict=verdict)
            number = sessions.number_of(self._db, self._session, __version__, now)
        self._number = number
        return last

    def append(self, record: Record) -> None:
        """Write a record, with the report and the memory it carries, in one transaction.

        Where the disk is full the room that is kept back is given up for it, first a part, then all; see `regain`.

        Raises:
            StoreError: Nothing of it was written.

        """
        with told(self._path, "written"):
            try:
                self._write(record)
            except (sqlite3.OperationalError, OSError) as error:
                if not any(self._write_into(reserve, record, error) for reserve in (self._spare, self._last)):
                    raise
        self._appended += 1
        if self._appended % PRUNE_EVERY == 0:
            self._prune()

    def _write_into(self, reserve: Reserve, record: Record, error: Exception) -> bool:
        """Give up a reserve and write a record; tell whether that succeeded."""
        if not reserve.release():
            return False
        logger.warning("%s cannot be written (%s): room that was kept back is given up", self._path, error)
        self.short_of_room = True
        self.out_of_room = reserve is self._last
        try:
            self._write(record)
        except (sqlite3.OperationalError, OSError):
            return False
        return True

    def regain(self) -> bool:
        """Take the room that is kept back again; tell whether all is there. Thread-safe, unlike the rest."""
        if self._last.make() and self._spare.make():
            self.short_of_room = self.out_of_room = False
            return True
        return False

    def _write(self, record: Record) -> None:
        now = self._clock()
        if self._number and is_plain(record):
            insert_line(self._db, self._number, record, now)  # a transaction by itself
            return
        with transaction(self._db):
            number = self._number or sessions.number_of(self._db, self._session, __version__, now)
            insert(self._db, number, record, now)
            if record.target is State.STOPPED:
                sessions.end(self._db, number, record, text(record.experiment), now)
        self._number = number

    def journal(self, session: str | None = None) -> tuple[JournalEntry, ...]:
        """Give the records of one session, by default this one's, in order."""
        return self.lines(session or self._session)

    def _prune(self) -> None:
        """Apply the bounds; that it fails costs nothing but room."""
        try:
            prune(self._db, self._settings, present=self._number, now=self._clock())
        except sqlite3.Error as error:
            logger.warning("old records of %s cannot be removed: %s", self._path, error)


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, of the present version and sound."""
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        path.chmod(0o600)
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{path}: this file system does not support SQLite's WAL mode; use a local disk")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreError(f"{path} was written by a newer fedenvoy (format {version}): upgrade this one")
        upgrade(db, version)
        last = db.execute("SELECT ended FROM sessions ORDER BY number DESC LIMIT 1").fetchone()
        damage.examine(db, thoroughly=last is not None and last[0] != STOPPED)
    except BaseException:
        db.close()
        raise
    return db
