"""Which records of a journal are wanted: by time, experiment, verdict and person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedenvoy.audit.runs import Run, Runs
from fedenvoy.store import JournalEntry
from fedenvoy.store.trail import Trail

__all__ = ["Choice"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked for; what is left out is not looked at.

    Attributes:
        since: Wall-clock seconds; records from then on.
        until: Wall-clock seconds; records before then.
        experiment: The name of the experiment that a record speaks of.
        verdict: How the run of a record ended.
        person: A part of the name or identity of one who decided about the run of a record.

    """

    since: float | None = None
    until: float | None = None
    experiment: str | None = None
    verdict: str | None = None
    person: str | None = None

    @property
    def by_run(self) -> bool:
        """Whether only records of runs can be meant."""
        return self.verdict is not None or self.person is not None

    def within(self, at: float) -> bool:
        """Whether a time is in the period."""
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def entries(self, trail: Trail, runs: Runs) -> Iterator[JournalEntry]:
        """Give the records that are wanted, oldest first."""
        for entry in trail.every():
            if self.within(entry.at) and self._fits(entry, runs):
                yield entry

    def _fits(self, entry: JournalEntry, runs: Runs) -> bool:
        if self.experiment is not None and entry.experiment != self.experiment:
            return False
        if not self.by_run:
            return True
        run = runs.of_entry(entry)
        return run is not None and self.fits_run(run)

    def fits_run(self, run: Run) -> bool:
        """Whether a run ended so, and was decided about by that person."""
        if self.verdict is not None and run.verdict != self.verdict:
            return False
        if self.person is None:
            return True
        people = run.decision.people if run.decision else ()
        return any(self.person.casefold() in who.casefold() for who in people)
