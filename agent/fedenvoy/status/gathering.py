"""Puts a status together: what the living agent says of this moment, and what its files say of what came before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedenvoy_statecharts import State

from fedenvoy.control.client import AnswerError, UnreachableError, ask
from fedenvoy.control.places import Place
from fedenvoy.errors import StoreError
from fedenvoy.status.gpus import gpus_of
from fedenvoy.status.model import Agent, Declined, Experiment, Link, Node, Retry, Review, Status, Transition, Verdict
from fedenvoy.status.why import why_not_training
from fedenvoy.store.history import History, holder, read_history
from fedenvoy.store.reading import JournalEntry

__all__ = ["status"]

_IN_HAND = frozenset({State.REVIEWING_PLAN.value, State.INSTALLING_REQUIREMENTS.value, State.TRAINING.value})
_RETRIED = {State.IDLE.value: "poll", State.REPORTING.value: "delivery"}
_LOOKS = 5
"""How often both sources are looked at until they speak of the same moment."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known, and from where.

    Attributes:
        history: What the files say.
        live: What the agent says; None when none answers.
        pid: The agent's process; None when none is there.
        problems: What could not be found out.

    """

    history: History
    live: Mapping[str, Any] | None
    pid: int | None
    problems: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether no step was taken between the two answers."""
        last, live = self.history.last, self.live
        return live is None or last is None or (last.session, last.entry) == (live["session"], live["entry"])


def status(place: Place) -> Status:
    """Tell what a node is doing. Raises nothing: what cannot be found out is said in `problems`."""
    found = _look(place)
    for _ in range(_LOOKS):
        if found.agrees:
            break
        found = _look(place)
    now = time.time()
    history, live, last = found.history, found.live, found.history.last
    agent = _agent(found)
    state = live["state"] if live else last.target if last else None
    outbox = tuple(Verdict(one.experiment, one.verdict.value, one.text, one.made_at) for one in history.outbox)
    paused = live["paused"] if live else history.paused
    transitions = tuple(map(_transition, history.steps))
    review = _review(live)
    return Status(
        at=now,
        node=Node(place.shard_name, place.director, str(place.directory)),
        agent=agent,
        state=state,
        since=live["since"] if live else history.steps[-1].at if history.steps else None,
        experiment=_experiment(found, now),
        review=review,
        link=_link(found),
        retry=_retry(live, now) if live else None,
        outbox=outbox,
        declined=_declined(found),
        paused=paused,
        transitions=transitions,
        not_training=why_not_training(
            agent=agent,
            state=state,
            paused=paused,
            ended=history.session.exit_code if history.session else None,
            last=transitions[-1] if transitions else None,
            review=review,
            dialled=(live["link"] if live else last.link if last else 0) > 0,
            outbox=outbox,
        ),
        problems=found.problems,
        gpus=gpus_of(live),
        isolation=live.get("isolation") if live else None,
    )


def _look(place: Place) -> _Found:
    """Ask the agent, then read the files: what the agent did before it answered is in them."""
    problems: list[str] = []
    live: Mapping[str, Any] | None = None
    try:
        live = ask(place.directory, "snapshot")["snapshot"]
    except UnreachableError as error:
        pid = holder(place.directory)
        if pid is not None:
            problems.append(
                f"process {pid} holds this state directory and does not answer ({error}): it is starting, ending, or "
                "stopped by a signal; what it did last is read from its journal"
            )
    except AnswerError as error:
        pid = holder(place.directory)
        problems.append(str(error))
    else:
        pid = live["pid"]
    try:
        history = read_history(place.directory)
    except StoreError as error:
        history = History()
        problems.append(str(error))
    return _Found(history, live, pid, tuple(problems))


def _agent(found: _Found) -> Agent:
    live, history = found.live, found.history
    return Agent(
        running=found.pid is not None,
        answering=live is not None,
        pid=found.pid,
        version=live["version"] if live else None,
        session=live["session"] if live else history.session.id if history.session else None,
        started=history.session.began_at if history.session else None,
        stopping=live["stopping"] if live else False,
    )


def _experiment(found: _Found, now: float) -> Experiment | None:
    live, last, begun = found.live, found.history.last, found.history.begun
    if live:
        name, run = live["experiment"], live["run"]
    elif last and last.target in _IN_HAND:
        name, run = last.experiment, last.run
    else:
        return None
    until = now if found.pid is not None or last is None else last.at
    return Experiment(name, run, begun, None if begun is None else max(0.0, until - begun)) if name else None


def _review(live: Mapping[str, Any] | None) -> Review | None:
    case = live.get("review") if live else None
    if case is None:
        return None
    approvals = sum(bool(vote["approve"]) for vote in case["votes"])
    return Review(case["id"], case["since"], case["deadline"], approvals, case["needed"], case["why"])


def _link(found: _Found) -> Link:
    live = found.live
    if live:
        return Link(live["link_up"], live["last_contact"], live["misses"])
    return Link(None, found.history.contact, 0)


def _retry(live: Mapping[str, Any], now: float) -> Retry | None:
    at = live["retry_at"]
    if at is None or at <= now:
        return None  # nothing waits, or it is under way by now
    what = _RETRIED.get(live["state"], "download" if live["link_up"] else "dial")
    return Retry(what, at, at - now)


def _declined(found: _Found) -> tuple[Declined, ...]:
    """Give the names that rest, and those whose archive is not run again."""
    resting = found.live["declined"] if found.live else ()
    known = {one["experiment"]: Declined(one["experiment"], one["why"], one["until"]) for one in resting}
    for one in found.history.settled:
        why = "this archive failed or was rejected here before"
        known.setdefault(one.experiment, Declined(one.experiment, why, None))
    return tuple(known.values())


def _transition(step: JournalEntry) -> Transition:
    return Transition(
        at=step.at,
        session=step.session,
        source=step.source,
        event=step.event,
        target=step.target,
        experiment=step.experiment,
        attempt=step.attempt,
        cause=step.cause,
        outcome=step.outcome,
    )
