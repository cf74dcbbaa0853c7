"""What waits for people: takes votes from the control socket, and lets the job that waits know what they come to.

Two threads meet here: the one of the control socket, which votes, and the job of the experiment in hand, which waits.
Everything that counts is on the disk before anybody hears of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import evolve, frozen

from fedenvoy.cancel import Cancel
from fedenvoy.config import ReviewSettings
from fedenvoy.errors import FedenvoyError
from fedenvoy.logs import bounded
from fedenvoy.review.held import APPROVED, REJECTED, WAITING, Held, Vote
from fedenvoy.review.kept import Kept
from fedenvoy.review.notice import Notices
from fedenvoy.review.shelf import Shelf
from fedenvoy.review.tokens import Tokens

__all__ = ["Answer", "Holds", "VoteError"]

logger = logging.getLogger(__name__)

LOOK = 5.0
"""Seconds between two looks at whether the policy is another by now."""
_NAME = 100


class VoteError(FedenvoyError):
    """A vote that is not taken; the text says why."""


@frozen
class Answer:
    """What came of waiting."""

    decision: str
    """`approved`, `rejected`, or `waiting` where the policy is another by now and is to be asked again."""
    held: Held
    """What was decided about."""

    @property
    def words(self) -> str:
        """Say who decided, when and why; for the journal."""
        held = self.held
        if self.decision == REJECTED and not any(not vote.approve for vote in held.votes):
            waited = f"{held.deadline - held.since:.0f} s"
            return f"nobody decided within {waited}, {len(held.approvals)} of {held.needed} approved ({held.why})"
        said = [vote for vote in held.votes if vote.approve == (self.decision == APPROVED)]
        return f"{self.decision} by {'; '.join(map(_told, said))} ({held.why})"


def _told(vote: Vote) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(vote.at))
    return f"{vote.name} [{vote.identity}] at {at}: {bounded(vote.reason, 300)}"


class Holds:
    """What waits at one node, and what people say about it. Thread-safe.

    Args:
        directory: Where it lies: a part of the node's state directory that is the reviews' alone.
        settings: How many must approve, and how long that may take.
        clock: Gives wall-clock seconds.

    Attributes:
        tokens: The people who have one.
        kept: The archives that were approved last.

    """

    def __init__(
        self,
        directory: Path,
        settings: ReviewSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._look = LOOK
        self._shelf = Shelf(directory / "waiting", clock)
        self._notices = Notices(settings)
        self._lock = threading.Lock()
        self._in_hand = ""
        self._changed: Callable[[], bool] = lambda: False
        self._woken = threading.Event()
        self.tokens = Tokens(directory / "reviewers.json")
        self.kept = Kept(directory / "approved", settings.keep)

    # ---- For those who look and vote

    def all(self) -> tuple[Held, ...]:
        """Give what waits, and what was approved and has not been run to its end, oldest first."""
        with self._lock:
            return self._shelf.all(self._in_hand)

    def in_hand(self) -> Held | None:
        """Give what the node waits for at this moment."""
        with self._lock:
            return self._shelf.get(self._in_hand) if self._in_hand else None

    def shown(self, case: str) -> tuple[Held, dict[str, str]]:
        """Give one case with what people are shown of it.

        Raises:
            VoteError: There is none of that id.

        """
        with self._lock:
            held = self._find(case)
            return held, self._shelf.shown(held)

    def vote(self, case: str, vote: Vote) -> Held:
        """Take what one person says; it is on the disk when this returns.

        An identity has one voice: a second approval changes nothing, a rejection takes an approval's place. A vote with
        a token takes the place of approvals without one, which may be the same person's.

        Raises:
            VoteError: It is not taken: nothing of that id waits any more, or its time is over.

        """
        with self._lock:
            held = self._find(case)
            waits = self._in_hand == held.experiment
            if held.decision == REJECTED:
                raise VoteError(f"{_named(held)} is rejected already")
            if waits and vote.approve and self._changed():
                self._woken.set()
                raise VoteError(
                    f"the policy has changed since {_named(held)} was judged by it: it is judged anew, look at it again"
                )
            if vote.approve and any(one.approve and one.identity == vote.identity for one in held.votes):
                return held
            others = tuple(one for one in held.votes if one.identity != vote.identity and not _is_replaced(one, vote))
            held = evolve(held, votes=(*others, vote))
            try:
                self._shelf.put(held)
            except OSError as error:
                raise VoteError(f"it could not be written down ({error}), so it does not count") from error
            logger.info("review of %r: %s, which makes it %s", held.experiment[:_NAME], _told(vote), held.decision)
            self._woken.set()
            return held

    def forget(self, experiment: str) -> None:
        """Forget what was said about a name, unless it waits at this moment."""
        with self._lock:
            if experiment != self._in_hand:
                self._drop(experiment)

    def _find(self, case: str) -> Held:
        for held in self._shelf.all(self._in_hand):
            if held.id == case:
                return held
        raise VoteError(
            "nothing of this id waits: it was decided, given up, or has changed; see `fedenvoy review list`"
        )

    # ---- For the job that waits

    def wait(
        self, asked: Held, texts: Callable[[], Mapping[str, str]], changed: Callable[[], bool], cancel: Cancel
    ) -> Answer:
        """Let an experiment wait until people have decided, or its time is over.

        Args:
            asked: What it is; votes that were given for exactly this count, whenever they were.
            texts: Makes what people are shown; called where that is not known yet.
            changed: Whether the policy is another by now; then the answer is `waiting`.
            cancel: Ends the waiting; what was said stays.

        Raises:
            Cancelled: The answer is not wanted any more.
            OSError: It cannot be written down.

        """
        began = time.monotonic() - self._clock()
        held = self._begin(asked, texts, changed)
        end = began + held.deadline  # by a clock that nobody sets meanwhile
        forget = cancel.on_cancel(self._woken.set)
        try:
            while True:
                cancel.raise_if_cancelled()
                self._woken.clear()
                held = self._present(held)
                if held.decision != WAITING:
                    return self._conclude(held.decision, held)
                if changed():
                    return Answer(WAITING, held)
                left = end - time.monotonic()
                if left <= 0:
                    return self._conclude(REJECTED, held)
                self._woken.wait(min(left, self._look))
        finally:
            forget()
            with self._lock:
                self._in_hand = ""

    def _begin(self, asked: Held, texts: Callable[[], Mapping[str, str]], changed: Callable[[], bool]) -> Held:
        """Write down that it waits, with the votes that count for it, and tell somebody who has not been told."""
        with self._lock:
            before = self._shelf.get(asked.experiment)
        held = self._carried(asked, before)
        fresh = before is None or before.id != held.id
        shown = texts() if fresh or not self._shelf.shown(held) else None
        with self._lock:
            self._woken.clear()
            self._shelf.put(held, shown)
            self._in_hand, self._changed = held.experiment, changed
        if held.decision == WAITING:
            logger.warning(
                "%r waits for approval, %d of %d, within %.0f s: fedenvoy review show %s",
                held.experiment[:_NAME],
                len(held.approvals),
                held.needed,
                held.deadline - self._clock(),
                held.id[:12],
            )
            if not held.told:
                self._notices.tell(held.brief(), lambda words: self._note_told(held, words))
        return held

    def _carried(self, asked: Held, before: Held | None) -> Held:
        """Give it with the votes that were given for exactly this; of others, say that they are void."""
        if before is None:
            return asked
        if before.id != asked.id:
            return evolve(asked, void=_void(before, asked))
        if before.decision == WAITING and before.deadline <= self._clock():
            return evolve(asked, told=before.told)
        return evolve(
            asked,
            votes=before.votes,
            since=before.since,
            deadline=before.deadline,
            void=before.void,
            told=before.told,
        )

    def _note_told(self, held: Held, words: str) -> None:
        with self._lock:
            now = self._shelf.get(held.experiment)
            if now is not None and now.id == held.id:
                try:
                    self._shelf.put(evolve(now, told=words))
                except OSError as error:
                    logger.warning("it cannot be written down that somebody was told: %s", error)

    def _present(self, held: Held) -> Held:
        """Give it with the votes that have come meanwhile; a file that vanished takes them with it."""
        with self._lock:
            now = self._shelf.get(held.experiment)
        return now if now is not None and now.id == held.id else evolve(held, votes=())

    def _conclude(self, decision: str, held: Held) -> Answer:
        """Keep an approval until its run has ended, so that no restart asks again; a rejection is settled elsewhere."""
        if decision == REJECTED:
            with self._lock:
                self._drop(held.experiment)
        return Answer(decision, held)

    def used(self, experiment: str) -> None:
        """Note that a run has come to its end: what was approved for it is used up."""
        with self._lock:
            self._drop(experiment)

    def _drop(self, experiment: str) -> None:
        try:
            self._shelf.remove(experiment)
        except OSError as error:
            logger.warning("what was said about %r cannot be removed: %s", experiment[:_NAME], error)

    def close(self) -> None:
        """Give up telling anybody."""
        self._notices.close()


def _is_replaced(one: Vote, by: Vote) -> bool:
    return one.approve and by.identity.startswith("token ") and not one.identity.startswith("token ")


def _named(held: Held) -> str:
    return repr(bounded(held.experiment, _NAME))


def _void(before: Held, asked: Held) -> str:
    """Say which approvals count no more, and why."""
    if not before.approvals:
        return ""
    parts = (("archive", "archive"), ("lock", "lock of its requirements"), ("policy", "policy"))
    changed = [word for name, word in parts if getattr(before, name) != getattr(asked, name)]
    names = ", ".join(vote.name for vote in before.approvals)
    return f"approved before by {names}, which counts no more: another {' and another '.join(changed)}"
