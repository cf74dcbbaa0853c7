"""Who decided about an experiment, read off the words that the decision left in the journal."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fedenvoy.store import JournalEntry

__all__ = ["DECISIONS", "Decision", "decision_of"]

DECISIONS = frozenset({"plan_approved", "plan_rejected"})
"""The events that are decisions."""

_PERSON = re.compile(r"(?:by |; )(?P<name>[^;\[\]]*?) \[(?P<identity>[^\]]+)\] at \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: ")
_RULE = re.compile(r"^\w+ (by the rule '[^']*'|by the policy's default)")
_DIGEST = re.compile(r", (sha256|lock|policy) ([0-9a-f]{12})(?=, )")


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about an experiment.

    Attributes:
        approved: Whether it may run.
        at: When it was written down, wall-clock seconds.
        people: Who decided: `anna [uid 1000]`; empty where nobody was asked.
        by: The same in words: the people, the policy's rule, or that nobody was asked.
        words: All that was written down: who, when, why and by what rule.
        archive: SHA-256 of the archive; empty where it is not known.
        lock: The first digits of the locked requirements' digest; empty where none were approved.
        policy: Likewise of the policy's.

    """

    approved: bool
    at: float
    people: tuple[str, ...]
    by: str
    words: str
    archive: str
    lock: str
    policy: str


def decision_of(entry: JournalEntry) -> Decision | None:
    """Give the decision that a record tells; None where it tells none."""
    if entry.event not in DECISIONS:
        return None
    # A reason is what a person typed; what this node wrote itself stands at the end.
    tail = dict[str, str](_DIGEST.findall(entry.cause[-120:])) if entry.event == "plan_approved" else {}
    people = tuple(f"{match['name']} [{match['identity']}]" for match in _PERSON.finditer(entry.cause))
    return Decision(
        approved=entry.event == "plan_approved",
        at=entry.at,
        people=people,
        by=", ".join(people) or _by(entry.cause),
        words=entry.cause,
        archive=entry.digest,
        lock=tail.get("lock", ""),
        policy=tail.get("policy", ""),
    )


def _by(cause: str) -> str:
    if rule := _RULE.match(cause):
        return f"the policy ({rule[1]})"
    if cause.startswith("nobody decided"):
        return "nobody in time"
    if cause.startswith("accepted"):
        return "nobody was asked (everything is accepted here)"
    return "the reviewer of this node"
