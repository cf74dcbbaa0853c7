"""Decides about an experiment as the site wants: nobody, somebody who is asked, the rules of a file, or people later.

Everything that decides speaks through one answer here, which names who, when, why and by what rule.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from fedenvoy.app.site import Site
from fedenvoy.cancel import Cancel
from fedenvoy.errors import FedenvoyError, StoreError
from fedenvoy.logs import bounded, escape
from fedenvoy.ports import Engine, ExperimentFiles
from fedenvoy.review import decide
from fedenvoy.review.case import PastRun, ReviewCase
from fedenvoy.review.held import APPROVED, WAITING, Held
from fedenvoy.review.showing import shown

if TYPE_CHECKING:
    from fedenvoy.workspace.environments import Locked

__all__ = ["Decision", "Reviewing", "case_of"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
_BROKEN = "broken-"
_MOST_WORDS = 300


@frozen
class Decision:
    """What came of a review."""

    approved: bool
    """Whether the experiment may run."""
    words: str = ""
    """Who decided, when, why and by what rule; empty where everything is accepted."""
    policy: str = ""
    """Digest of the policy that had a part in it; empty where none had."""


def case_of(experiment: str, files: ExperimentFiles, engine: Engine, locked: Locked | None) -> ReviewCase:
    """Gather what is known of an experiment before any of it runs."""
    return ReviewCase(
        experiment=experiment,
        digest=files.digest,
        size=files.archive.stat().st_size,
        plan=files.plan,
        plan_path=files.plan_path,
        workspace=files.workspace,
        requirements=files.requirements,
        lock="" if locked is None else locked.text,
        lock_digest="" if locked is None else locked.digest,
        engine=engine.name,
        received_at=time.time(),
    )


@frozen
class _Judged:
    """What the site's rules say."""

    decision: str
    """`approve`, `reject` or `hold`."""
    why: str
    """The rule, and its reason."""
    policy: str = ""
    """The policy's digest."""


class Reviewing:
    """Decides about one experiment after the other.

    Args:
        site: What this node gives.

    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._settings = site.config.agent.review

    def decide(self, case: ReviewCase, archive: Path, cancel: Cancel) -> Decision:
        """Give the decision, however long people take for it.

        Args:
            case: The experiment.
            archive: The file as it was received.
            cancel: Ends the waiting.

        Raises:
            ReviewError: Somebody who was asked gave no usable answer.
            OSError: What waits could not be written down.
            Cancelled: The decision is not wanted any more.

        """
        asked = self._site.review
        if asked is not None:
            approved = decide(asked, case.plan_path, self._settings.timeout, cancel)
            cancel.raise_if_cancelled()
            if not approved:
                return Decision(approved=False, words="the reviewer did not approve the plan")
        if self._settings.mode not in {"policy", "hold"}:
            return Decision(approved=True, words="approved by the reviewer" if asked is not None else "")
        decision = self._by_rules(case, cancel)
        if decision.approved:
            self._site.holds.kept.keep(case.experiment, archive, case.digest)
        return decision

    def _by_rules(self, case: ReviewCase, cancel: Cancel) -> Decision:
        while True:
            judged = _unless_cancelled(cancel, lambda: self._judge(case))
            if judged.decision != "hold":
                self._site.holds.forget(case.experiment)
                return Decision(approved=judged.decision == "approve", words=judged.why, policy=judged.policy)
            if self._site.confining.isolation().level == "process":
                logger.warning(
                    "%r will wait for people, but experiments run as this node's own user with nothing between them "
                    "(agent.isolation: process): one that runs could approve the next",
                    case.experiment[:100],
                )
            answer = self._site.holds.wait(
                self._held(case, judged),
                lambda: _unless_cancelled(cancel, lambda: shown(case, self._site.holds.kept.last(case.experiment))),
                lambda policy=judged.policy: self._policy_digest() != policy,  # type: ignore[misc]
                cancel,
            )
            if answer.decision != WAITING:
                return Decision(approved=answer.decision == APPROVED, words=answer.words, policy=judged.policy)
            logger.warning("the policy changed while %r waited: it is judged anew", case.experiment[:100])

    def _held(self, case: ReviewCase, judged: _Judged) -> Held:
        now = time.time()
        return Held(
            experiment=case.experiment,
            archive=case.digest,
            lock=case.lock_digest,
            policy=judged.policy,
            engine=case.engine,
            size=case.size,
            why=judged.why,
            since=now,
            deadline=now + self._settings.timeout,
            needed=self._settings.required_approvals,
        )

    # ---- The policy

    def _judge(self, case: ReviewCase) -> _Judged:
        """Ask the policy as its file is now; one that cannot be used lets everything wait."""
        if self._settings.mode == "hold":
            return _Judged("hold", "everything waits here (agent.review.mode: hold)")
        from fedenvoy.review.policy import load  # noqa: PLC0415 - seldom needed

        path = self._settings.policy
        assert path is not None, "checked before the node starts"
        digest = self._policy_digest()
        try:
            policy = load(path)
            judged = policy.judge(case, self._history())
        except (FedenvoyError, OSError) as error:
            words = bounded(escape(str(error)), _MOST_WORDS)
            logger.error("the policy cannot be used, so everything waits: %s", words)  # noqa: TRY400 - one sentence
            return _Judged("hold", f"the policy cannot be used: {words}", digest)
        return _Judged(judged.decision, f"{judged.sentence}; {path.name}", policy.digest)

    def _policy_digest(self) -> str:
        """Give the digest of the policy's file as it is now, whether or not it can be understood."""
        path = self._settings.policy
        if self._settings.mode == "hold" or path is None:
            return ""
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            return f"{_BROKEN}{error.errno}"

    def _history(self) -> tuple[PastRun, ...] | None:
        """Give what was approved here before; None where that cannot be read."""
        from fedenvoy.store.history import approvals  # noqa: PLC0415 - seldom needed

        try:
            return tuple(PastRun(experiment, at) for experiment, at in approvals(self._site.node_dir))
        except StoreError as error:
            logger.warning("the policy cannot count earlier runs: %s", error)
            return None


def _unless_cancelled(cancel: Cancel, work: Callable[[], T]) -> T:
    """Do what may take a minute and cannot be interrupted; where it is not wanted any more, leave it to itself.

    It only reads, within limits of its own, and its thread ends with them.

    Raises:
        Cancelled: It is not wanted any more.

    """
    results: list[T] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that wants the answer
            failures.append(error)
        done.set()

    forget = cancel.on_cancel(done.set)
    try:
        threading.Thread(target=run, name="fedenvoy-inspection", daemon=True).start()
        done.wait()
    finally:
        forget()
    cancel.raise_if_cancelled()
    if failures:
        raise failures[0]
    return results[0]
