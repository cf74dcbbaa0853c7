"""Whether a journal is legal: each session line by line against the table, and how sessions follow each other.

An independent reading: it knows the table and the records, and nothing of the core.
"""

from __future__ import annotations

import functools
from collections import Counter

from fedenvoy.commands import Record
from fedenvoy_statecharts import LIFECYCLE, WAITING, Effect, Event, Row, State

__all__ = ["JournalReader", "Violation"]

VERDICTS = frozenset(effect for effect in Effect if effect.name.startswith("VERDICT_"))
ENDS_RUN = VERDICTS | {Effect.DROP_RUN}


class Violation(AssertionError):  # noqa: N818 - what it is about is called so
    """Something happened that must not."""


def _require(condition: bool, text: str, *values: object) -> None:
    if not condition:
        raise Violation(text % values if values else text)


@functools.cache
def _rows() -> dict[str, Row]:
    """Give the rows by their names."""
    return {LIFECYCLE.row_id(row): row for row in LIFECYCLE.rows}


class JournalReader:
    """Reads the lines of all sessions in the order in which they are written.

    Attributes:
        taken: How often each row was taken, by its id.
        sessions: The ids of the sessions so far.
        last: The last line of the session at hand; None before its first.

    """

    def __init__(self) -> None:
        self._rows = _rows()
        self._initial = LIFECYCLE.initial
        self.taken: Counter[str] = Counter()
        self.sessions: list[str] = []
        self.verdicts: dict[tuple[str, int], str] = {}
        self.last: Record | None = None
        self._open_run = 0
        self._runs = 0
        self._orphan_clock = self._absence_clock = False

    @property
    def session(self) -> str:
        """The session at hand."""
        return self.sessions[-1]

    def begin(self, session: str) -> None:
        """A new session begins."""
        _require(session not in self.sessions, "session %s was there before", session)
        self.sessions.append(session)
        self.last, self._open_run, self._runs = None, 0, 0

    def end(self, *, broken_off: bool) -> None:
        """The session is over: in Stopped, unless it was broken off by a kill or a failing disk."""
        stopped = self.last is not None and self.last.target is State.STOPPED
        _require(stopped or broken_off, "session %s ended in %s", self.session, self.last and self.last.target)

    def read(self, record: Record) -> None:
        """Judge the next line."""
        if self.last is None:
            self._first(record)
        else:
            self._next(self.last, record)
        self.last = record

    def _first(self, record: Record) -> None:
        if record.event is Event.STORE_FAILED:  # the first line is the one that the disk did not take
            _require((record.number, record.source) == (2, self._initial.target), "the first line is %s", record)
            return
        _require(record.event is Event.STARTED, "a session begins with %s", record.event)
        _require((record.number, record.source, record.row) == (1, None, ""), "the first line is %s", record)
        _require(record.target is self._initial.target, "a session begins in %s", record.target)
        _require((record.run, record.entry) == (0, 1), "a session begins with numbers of an earlier one: %s", record)

    def _next(self, last: Record, record: Record) -> None:
        _require(last.target is not State.STOPPED, "%s comes after the session has ended", record.event)
        row = self._rows.get(record.row)
        _require(row is not None, "there is no row %r", record.row)
        assert row is not None
        self._sequence(last, record)
        told = (record.source, record.event, record.target, record.internal)
        _require(told == (row.source, row.event, row.goal, row.internal), "row %s does not say %s", record.row, told)
        if record.number == last.number + 1:
            step = 0 if row.internal else 1
            _require(record.entry == last.entry + step, "entry %d follows %d by %s", record.entry, last.entry, row)
        _require(record.link >= last.link, "link %d follows %d", record.link, last.link)
        self._run(record, row)
        self.taken[record.row] += 1

    def _sequence(self, last: Record, record: Record) -> None:
        """Lines follow each other, but for the one that a failing disk took."""
        if record.number == last.number + 1:
            _require(
                record.source is last.target, "%s is left, but the last line led to %s", record.source, last.target
            )
            return
        lost = record.number == last.number + 2 and record.event is Event.STORE_FAILED
        _require(lost, "line %d (%s) follows line %d", record.number, record.event, last.number)
        joined = any((row.source, row.goal) == (last.target, record.source) for row in self._rows.values())
        _require(joined, "%s and %s cannot be joined", last.target, record.source)

    def _run(self, record: Record, row: Row) -> None:
        """Runs are numbered, one at a time, and each ends by one verdict or for a reason that the table names."""
        verdict = VERDICTS.intersection(row.effects)
        _require(bool(record.report) == bool(verdict), "row %s and the verdict %s", record.row, record.report)
        if Effect.BEGIN_RUN in row.effects:
            _require(not self._open_run, "run %d begins while %d is open", record.run, self._open_run)
            _require(record.run > self._runs, "run %d comes after %d", record.run, self._runs)
            self._open_run = self._runs = record.run
        if Effect.START_ORPHAN_CLOCK in row.effects:
            self._orphan_clock = True
        if Effect.STOP_ORPHAN_CLOCK in row.effects or Effect.BEGIN_RUN in row.effects:
            self._orphan_clock = False
        if Effect.START_ABSENCE_CLOCK in row.effects:
            self._absence_clock = True
        if Effect.STOP_ABSENCE_CLOCK in row.effects or Effect.BEGIN_RUN in row.effects:
            self._absence_clock = False
        if record.event is Event.EXPERIMENT_ORPHANED:
            clock = self._orphan_clock or self._absence_clock
            alone = record.source is State.TRAINING and record.cause.startswith("aggregator:")
            _require(clock or alone, "run %d is orphaned, but the director drives it", record.run)
        if verdict:
            self._verdict(record)
        if ENDS_RUN.intersection(row.effects):
            self._open_run = 0
        in_hand = record.target not in WAITING and record.target not in {State.REPORTING, State.STOPPED}
        if record.event is not Event.STORE_FAILED and record.target is not State.STOPPED:
            _require(bool(self._open_run) == in_hand, "in %s with run %d in hand", record.target, self._open_run)

    def _verdict(self, record: Record) -> None:
        assert record.report is not None
        key = (self.session, record.run)
        _require(record.run == self._open_run, "a verdict for run %d while %d is open", record.run, self._open_run)
        _require(key not in self.verdicts, "two verdicts for run %s: %s", key, record.report.verdict)
        _require(record.report.id not in self.verdicts.values(), "two verdicts under %s", record.report.id)
        self.verdicts[key] = record.report.id
