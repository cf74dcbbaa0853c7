"""The whole journal, line by line, for whoever must account for what a node did. Nothing is written.

All that is read of one trail is of one moment, also while an agent writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fedenvoy.errors import StoreError
from fedenvoy.store.failures import told
from fedenvoy.store.history import reading_of
from fedenvoy.store.reading import JournalEntry, Reading

__all__ = ["Trail", "open_trail"]

_ORDER = "ORDER BY j.session, j.number"
_LAST_MOMENT = 2.5e11
"""Seconds: times beyond the year 9999 are no times."""


class Trail(Reading):
    """The journal of one node, oldest record first; times are wall-clock seconds since the epoch."""

    def every(self) -> Iterator[JournalEntry]:
        """Give all records."""
        return self._walk(_ORDER)

    def of_experiments(self) -> Iterator[JournalEntry]:
        """Give the records that speak of an experiment, less the health checks meanwhile."""
        return self._walk(f"WHERE j.experiment != '' AND event NOT IN ('health_checked', 'health_missed') {_ORDER}")

    def from_record(self, session: str, number: int) -> Iterator[JournalEntry]:
        """Give the records of one session, from a number on."""
        return self._walk(f"WHERE s.id = ? AND j.number >= ? {_ORDER}", (session, number))

    def _walk(self, which: str, values: tuple[object, ...] = ()) -> Iterator[JournalEntry]:
        with told(self._path, "read"):
            for row in self._db.execute(f"{self.LINES} {which}", values):
                entry = replace(JournalEntry(*row), internal=bool(row[10]))
                if not _is_sound(entry):
                    raise StoreError(f"{self._path} is damaged: a record of session {entry.session} cannot be read")
                yield entry


def _is_sound(entry: JournalEntry) -> bool:
    """Whether each field is of its kind: SQLite keeps whatever somebody wrote into a column."""
    numbers = entry.number, entry.entry, entry.run, entry.link, entry.attempt
    texts = entry.session, entry.row, entry.event, entry.target, entry.experiment, entry.cause, entry.outcome
    return (
        _are((entry.at,), (float, int))
        and abs(entry.at) < _LAST_MOMENT
        and _are((entry.source,), (str, type(None)))
        and _are(numbers, (int,))
        and _are((*texts, entry.digest), (str,))
    )


def _are(values: tuple[object, ...], kinds: tuple[type, ...]) -> bool:
    return all(isinstance(value, kinds) for value in values)


@contextmanager
def open_trail(path: Path) -> Iterator[Trail]:
    """Open a journal's file; the agent that writes it may be alive, dead or elsewhere.

    Args:
        path: The file.

    Raises:
        StoreError: It is not there, is damaged, or is of another version.

    """
    path = path.absolute()
    with told(path, "read"):
        if path.is_dir():
            raise StoreError(f"{path} is a directory: expected a journal's file, such as {path / 'journal.sqlite3'}")
        if not path.exists():
            raise StoreError(f"{path} is not there: expected the journal of a node")
        with reading_of(path) as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone() is None:
                raise StoreError(f"{path} holds no journal: it is another file, or is being made at this moment")
            yield Trail(db, path)
