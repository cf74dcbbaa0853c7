"""The disk: what of the agent survives it. Keeps the contract of `fedenvoy.store.Store`, and fails when told to."""

from __future__ import annotations

from dataclasses import dataclass

from fedenvoy.commands import Record, Report
from fedenvoy.core import CarriedOver
from fedenvoy.errors import StoreError

__all__ = ["Disk", "Line"]


@dataclass(frozen=True, slots=True)
class Line:
    """One journal line: a record, and the session that wrote it."""

    session: str
    record: Record


class Disk:
    """Journal, outbox and settled memory, written together or not at all.

    Attributes:
        failing: While above zero, nothing can be written.
        fails_once: Whether the next write fails.

    """

    def __init__(self) -> None:
        self.journal: list[Line] = []
        self.outbox: dict[str, Report] = {}
        self.paused = False
        self.settled: dict[tuple[str, str], None] = {}
        self.failing = 0
        self.fails_once = False

    def append(self, session: str, record: Record) -> None:
        """Write a record with the report and the memory it carries.

        Raises:
            StoreError: Nothing of it was written.

        """
        if self.failing or self.fails_once:
            self.fails_once = False
            raise StoreError("the disk is full")
        if record.report is not None and record.report.id in self.outbox:
            raise StoreError(f"the outbox holds {record.report.id} already")
        self.journal.append(Line(session, record))
        if record.report is not None:
            self.outbox[record.report.id] = record.report
        if record.paused is not None:
            self.paused = record.paused
        if record.forgotten:
            self.settled = {pair: None for pair in self.settled if pair[0] != record.forgotten}
        if record.settled is not None:
            self.settled[record.settled.experiment, record.settled.digest] = None
        if record.delivered:
            self.outbox.pop(record.delivered, None)

    def carried(self) -> CarriedOver:
        """Give what the next session takes over."""
        return CarriedOver(tuple(self.outbox.values()), tuple(self.settled), self.paused)
