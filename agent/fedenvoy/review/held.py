"""One experiment that waits for people, as a frozen fact: what it is, who has said what, and what follows from that.

The decision is never stored: it is read off the votes, so that nothing can say "approved" beside the votes that say it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from attrs import frozen

from fedenvoy.logs import bounded

__all__ = ["APPROVED", "REJECTED", "WAITING", "Held", "Vote", "binding"]

WAITING, APPROVED, REJECTED = "waiting", "approved", "rejected"
_LONGEST = 2000


@frozen
class Vote:
    """What one person said about it."""

    approve: bool
    """Whether it may run."""
    identity: str
    """Who it was for sure: `uid 1000`, or `token anna`."""
    name: str
    """The name that was typed beside it."""
    reason: str
    """Why, in the person's words."""
    at: float
    """When, wall-clock seconds."""


@frozen
class Held:
    """What waits; times are wall-clock seconds since the epoch."""

    experiment: str
    """Its name, as the director sent it; it may be any text."""
    archive: str
    """SHA-256 of the archive, hexadecimal."""
    lock: str
    """SHA-256 of the locked requirements; empty where nothing is installed."""
    policy: str
    """Digest of the policy that let it wait; empty where no policy did."""
    engine: str
    """The engine that would run it."""
    size: int
    """Bytes of the archive."""
    why: str
    """Why it waits: the rule and its reason."""
    since: float
    """When it began to wait."""
    deadline: float
    """When it counts as rejected."""
    needed: int
    """How many people must approve."""
    votes: tuple[Vote, ...] = ()
    """In the order in which they came; each identity has one at most."""
    void: str = ""
    """One sentence about approvals that were given before and count no more; empty when there were none."""
    told: str = ""
    """What came of telling somebody that it waits; empty while nobody was told."""

    @property
    def id(self) -> str:
        """What a vote is bound to: it is another as soon as archive, lock or policy is."""
        return binding(self.experiment, self.archive, self.lock, self.policy)

    @property
    def approvals(self) -> tuple[Vote, ...]:
        """Give the approvals, one for each identity."""
        return tuple(vote for vote in self.votes if vote.approve)

    @property
    def decision(self) -> str:
        """Say what the votes come to: one rejection is enough, an approval needs as many as are wanted."""
        if len(self.approvals) < len(self.votes):
            return REJECTED
        return APPROVED if len(self.approvals) >= self.needed else WAITING

    def brief(self) -> dict[str, Any]:
        """Give what a list shows, as JSON can hold it."""
        return {
            "id": self.id,
            "experiment": bounded(self.experiment, _LONGEST),
            "archive": self.archive,
            "lock": self.lock,
            "policy": self.policy,
            "engine": self.engine,
            "size": self.size,
            "why": bounded(self.why, _LONGEST),
            "since": self.since,
            "deadline": self.deadline,
            "needed": self.needed,
            "decision": self.decision,
            "votes": [
                {"approve": v.approve, "identity": v.identity, "name": v.name, "reason": v.reason, "at": v.at}
                for v in self.votes
            ],
            "void": self.void,
            "told": self.told,
        }


def binding(experiment: str, archive: str, lock: str, policy: str) -> str:
    """Give the one digest of all that an approval is for, hexadecimal."""
    return hashlib.sha256(json.dumps([experiment, archive, lock, policy]).encode("ascii")).hexdigest()
