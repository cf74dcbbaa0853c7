"""What is promised of the lifecycle, by number, and how a broken promise is told.

The numbers are used by every check, test and document; this is the place where they are given.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROPERTIES", "Finding", "Report"]

PROPERTIES: dict[int, str] = {
    1: "deterministic: for every state, event and guard valuation at most one row",
    2: "total: every state and event is a row, or ignored for a reason that is true",
    3: "every state and row is reachable; Stopped from every state; Idle from every state but Stopped",
    4: "Training is entered only through plan_approved: review before install, install before training",
    5: "a run only moves forward, and does not leave without a verdict but for a named reason",
    6: "at most one run is current, and each has exactly one verdict, which leaves the outbox only when told",
    7: "stale events change nothing, and events that are not stale are heard",
    8: "a stop always ends, by its clock alone if need be, and nothing new is begun meanwhile",
    9: "only registration_accepted enters Registered; Registered and Idle hold a registration of this link",
    10: "no hot loop: whatever can start itself again waits in between",
    11: "every state runs its own activity and no other's, and leaving it ends it",
    12: "with a director that answers, every verdict is sent in the end, and the node is Idle",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A property that does not hold.

    Attributes:
        number: Which of PROPERTIES.
        problem: What is wrong, in a sentence.
        trace: The shortest way there, step by step; the rows themselves where it is found on the table.

    """

    number: int
    problem: str
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = "".join(f"\n      {step}" for step in self.trace)
        return f"{self.problem}{steps}"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of all checks of one chart.

    Attributes:
        findings: At most one for each property, by number.
        undecided: Properties that could not be looked at, because others are broken.
        configurations: How many configurations of the extended model were seen; 0 when it was not explored.
        steps: How many steps between them.

    """

    findings: tuple[Finding, ...]
    undecided: frozenset[int] = frozenset()
    configurations: int = 0
    steps: int = 0

    @property
    def holds(self) -> bool:
        """Whether every property holds."""
        return not self.findings

    def lines(self) -> list[str]:
        """Give one line for each property, with the counterexample below it when it fails."""
        broken = {finding.number: finding for finding in self.findings}
        told = []
        for number, text in PROPERTIES.items():
            finding = broken.get(number)
            word = "BROKEN" if finding else "open" if number in self.undecided else "ok"
            told.append(f"{number:2}  {word:6}  {text}")
            if finding is not None:
                told.append(f"      {finding}")
        return told
