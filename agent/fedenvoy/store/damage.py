"""What is done with a journal that is damaged: it is set aside whole, and what can be read of its outbox is saved."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from fedenvoy.commands import Verdict
from fedenvoy.store.transactions import transaction

__all__ = ["examine", "restore", "salvage", "set_aside"]

logger = logging.getLogger(__name__)

_NUMBER = (int, float)
_SAVED: Mapping[str, tuple[type | tuple[type, ...], ...]] = {
    "outbox": (str, _NUMBER, str, str, int, str, str),
    "settled": (str, str, _NUMBER),
    "marks": (str, str, _NUMBER),
}
"""The tables that are saved, and what stands in their columns; they are alike in every version."""
_VERDICTS = frozenset(verdict.value for verdict in Verdict)
Saved = Mapping[str, list[tuple[object, ...]]]


def examine(db: sqlite3.Connection, *, thoroughly: bool) -> None:
    """Read what every start needs; after a session that did not stop, also check every page.

    Raises:
        sqlite3.DatabaseError: The file is damaged.

    """
    for table in ("sessions", *_SAVED):
        db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names
    if thoroughly:
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)


def salvage(path: Path) -> Saved:
    """Read unsent verdicts, settled archives and marks from a damaged file, as far as they can be read."""
    saved: dict[str, list[tuple[object, ...]]] = {table: [] for table in _SAVED}
    with contextlib.suppress(sqlite3.Error):
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        try:
            for table, rows in saved.items():
                with contextlib.suppress(sqlite3.Error):
                    for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608 - our own names
                        if _is_sound(table, row):
                            rows.append(row)
        finally:
            db.close()
    return saved


def _is_sound(table: str, row: tuple[object, ...]) -> bool:
    kinds = _SAVED[table]
    alike = len(row) == len(kinds) and all(map(isinstance, row, kinds))
    return alike and (table != "outbox" or row[3] in _VERDICTS)


def set_aside(path: Path, now: float) -> Path:
    """Keep a damaged file under another name, with what belongs to it; give the name."""
    stem = f"{path.name}.damaged-{int(now)}"
    aside = path.with_name(stem)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}")
    path.rename(aside)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        log.rename(aside.with_name(f"{aside.name}-wal"))
    else:
        log.unlink(missing_ok=True)
    return aside


def restore(db: sqlite3.Connection, saved: Saved) -> int:
    """Write what was saved into a new file; give how many verdicts there were."""
    with transaction(db):
        for table, rows in saved.items():
            marks = ", ".join("?" * len(_SAVED[table]))
            db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own names
        (verdicts,) = db.execute("SELECT count(*) FROM outbox").fetchone()
    return int(verdicts)
