"""The one sentence that an operator asks for first: why this node is not training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedenvoy_statecharts import Event, State

from fedenvoy.errors import Exit
from fedenvoy.status.model import Agent, Review, Transition, Verdict

__all__ = ["why_not_training"]

_NO_LINK = {
    Event.REGISTRATION_FAILED.value: "the director could not be reached",
    Event.REGISTRATION_REFUSED.value: "the director does not accept this shard",
    Event.LINK_REJECTED.value: "the director rejects this link",
    Event.DIRECTOR_LOST.value: "the link to the director was lost",
    Event.SHARD_FORGOTTEN.value: "the director no longer knew this shard, which is being registered again",
    Event.POLL_FAILED.value: "waiting for offers failed again and again, so the director is dialled anew",
}


@dataclass(frozen=True, slots=True)
class _Case:
    """What the sentence may speak of."""

    paused: bool
    last: Transition
    dialled: bool
    outbox: Sequence[Verdict]
    review: Review | None

    @property
    def experiment(self) -> str:
        return f"experiment {self.last.experiment!r}"


def why_not_training(
    *,
    agent: Agent,
    state: str | None,
    paused: bool,
    ended: int | None,
    last: Transition | None,
    dialled: bool,
    outbox: Sequence[Verdict],
    review: Review | None = None,
) -> str | None:
    """Give one sentence without its full stop; None when it is training.

    Args:
        agent: The process.
        state: The state of the chart.
        paused: Whether the operator paused the node.
        ended: The exit code of the last session; None where it did not end, or was killed.
        last: The last transition.
        dialled: Whether the director was dialled in this session.
        outbox: Verdicts that wait.
        review: What the experiment in hand waits for.

    """
    if not agent.running:
        return _not_running(state, ended, last)
    if state == State.TRAINING.value:
        return None
    if state is None or last is None:
        return "the agent has only just been started"
    if agent.stopping and state != State.REPORTING.value:
        return "the agent is stopping"
    return _WAYS[state](_Case(paused, last, dialled, outbox, review))


def _not_running(state: str | None, ended: int | None, last: Transition | None) -> str:
    if state is None or last is None:
        return "no agent has worked with this state directory yet"
    if ended is None:
        return (
            f"the agent is not running: it was killed, or this machine went down, in {state}; the next start takes up "
            "what is unfinished"
        )
    cause = f" ({last.cause})" if last.cause else ""
    return f"the agent is not running: exit code {ended}, {Exit(ended).meaning.partition(';')[0]}{cause}"


def _disconnected(case: _Case) -> str:
    if not case.dialled:
        return "the shard descriptor is being described, and the director is dialled after that"
    reason = _NO_LINK.get(case.last.event)
    if reason is None:
        return "the director is being dialled"
    return f"{reason}: {case.last.cause}" if case.last.cause else reason


def _registered(_case: _Case) -> str:
    return "the director accepted this shard, and has not answered the first health check yet"


def _idle(case: _Case) -> str:
    last = case.last
    if case.paused:
        return "this node is paused: what the director offers is declined until `fedenvoy resume`"
    if last.cause.startswith("declined: "):
        reason = last.cause.removeprefix("declined: ").partition("; looked at again")[0]  # when, `declined` says better
        return f"the last offer, {last.experiment!r}, was declined: {reason}"
    if last.event == Event.POLL_FAILED.value:
        return f"waiting for offers failed, and is tried again: {last.cause}"
    return "the director offers no experiment"


def _reviewing(case: _Case) -> str:
    review = case.review
    if review is None:
        return f"{case.experiment} is being downloaded, checked and reviewed"
    return (
        f"{case.experiment} waits for approval, {review.approvals} of {review.needed}: see `fedenvoy review show "
        f"{review.id[:12]}`"
    )


def _installing(case: _Case) -> str:
    return f"the environment of {case.experiment} is being built"


def _reporting(case: _Case) -> str:
    if not case.outbox:
        return "a verdict is being told to the director"
    first = case.outbox[0]
    return f"the verdict on experiment {first.experiment!r} ({first.verdict}) is being told to the director"


def _stopped(_case: _Case) -> str:
    return "the agent is ending"


_WAYS: dict[str, Callable[[_Case], str]] = {
    State.DISCONNECTED.value: _disconnected,
    State.REGISTERED.value: _registered,
    State.IDLE.value: _idle,
    State.REVIEWING_PLAN.value: _reviewing,
    State.INSTALLING_REQUIREMENTS.value: _installing,
    State.REPORTING.value: _reporting,
    State.STOPPED.value: _stopped,
}
