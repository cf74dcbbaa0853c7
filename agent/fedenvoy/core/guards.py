"""The guards: every question a row can ask, answered from the message and the agent's data. Asking changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedenvoy_statecharts import Guard

from fedenvoy.config import AgentSettings
from fedenvoy.core.state import Data
from fedenvoy.events import Approved, Message, Offer

__all__ = ["Question", "answer"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a guard may look at."""

    message: Message
    data: Data
    settings: AgentSettings
    now: float


def _offer_welcome(q: Question) -> bool:
    if not isinstance(q.message, Offer) or q.data.paused or q.message.unfit:
        return False
    memory = q.data.memory.get(q.message.experiment)
    return memory is None or q.now >= memory.recheck


def _poll_tries_left(q: Question) -> bool:
    # Failures that lie far apart are not "in a row": between them, polls were parked in good health.
    recent = q.now - q.data.poll_failed_at <= q.settings.poll.timeout
    return (q.data.poll_failures if recent else 0) + 1 < q.settings.poll.tries


def _fetch_tries_left(q: Question) -> bool:
    return q.data.run is not None and q.data.run.cuts_with(q.message) < q.settings.fetch.tries


def _deliver_tries_left(q: Question) -> bool:
    tries = next((p.tries for p in q.data.outbox if p.report.id == q.data.delivering), 0)
    return tries + 1 < q.settings.report.tries


def _same_run(q: Question) -> bool:
    run = q.data.run
    return isinstance(q.message, Offer) and run is not None and q.message.experiment == run.experiment


_ANSWERS: dict[Guard, Callable[[Question], bool]] = {
    Guard.REFUSAL_ENDS: lambda q: q.settings.link.on_refused == "exit",
    Guard.LINK_TRIES_LEFT: lambda q: q.data.link.rejections + 1 < q.settings.link.tries,
    Guard.REPORT_WAITING: lambda q: bool(q.data.waiting(q.now, besides=q.data.delivering)),
    Guard.OFFER_WELCOME: _offer_welcome,
    Guard.POLL_TRIES_LEFT: _poll_tries_left,
    Guard.INSTALL_WANTED: lambda q: isinstance(q.message, Approved) and q.message.install,
    Guard.LINK_UP: lambda q: q.data.link.up,
    Guard.FETCH_TRIES_LEFT: _fetch_tries_left,
    Guard.SAME_RUN: _same_run,
    Guard.STOP_REPORTS: lambda q: q.settings.on_stop == "report",
    Guard.DELIVER_TRIES_LEFT: _deliver_tries_left,
    Guard.STOPPING: lambda q: q.data.stopping,
}


def answer(question: Question) -> Mapping[Guard, bool]:
    """Give the truth value of every guard."""
    return {guard: ask(question) for guard, ask in _ANSWERS.items()}
