"""The records for other programs: one JSON object a line, or comma-separated values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from fedenvoy.audit.moments import iso
from fedenvoy.audit.runs import Runs
from fedenvoy.store import JournalEntry

__all__ = ["FIELDS", "as_csv", "as_json_lines"]

FIELDS = (
    *("at", "session", "number", "entry", "run", "link", "row", "source", "event", "target", "internal"),
    *("experiment", "attempt", "cause", "digest", "outcome", "verdict", "decided_by"),
)
"""The keys and columns, in their order."""
_FORMULA = tuple("=+-@\t\r")


def _fields(entry: JournalEntry, runs: Runs) -> dict[str, Any]:
    run = runs.of_entry(entry)
    told: dict[str, Any] = {name: getattr(entry, name) for name in FIELDS[:-2]}
    told["at"] = iso(entry.at)
    told["verdict"] = run.verdict if run else ""
    told["decided_by"] = run.decision.by if run and run.decision else ""
    return told


def as_json_lines(entries: Iterable[JournalEntry], runs: Runs) -> Iterator[str]:
    """Give one JSON object a record."""
    for entry in entries:
        yield json.dumps(_fields(entry, runs), ensure_ascii=False)


def as_csv(entries: Iterable[JournalEntry], runs: Runs) -> Iterator[str]:
    """Give a line of names and one line a record.

    A director chooses an experiment's name, and a spreadsheet runs what begins like a formula: such texts get an
    apostrophe before them. The other format has every text as it is.
    """
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="")

    def written(values: Iterable[object]) -> str:
        line.seek(0)
        line.truncate()
        writer.writerow(values)
        return line.getvalue()

    yield written(FIELDS)
    for entry in entries:
        yield written(_harmless(value) for value in _fields(entry, runs).values())


def _harmless(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
