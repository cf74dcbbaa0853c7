"""Effects on the outbox: which report is told next, when it is tried again, and how it leaves."""

from __future__ import annotations

from fedenvoy_statecharts import Event

from fedenvoy.backoff import retry_delay
from fedenvoy.commands import Arm, Deliver, Timer
from fedenvoy.core.step import Step
from fedenvoy.events import Message, Problem

__all__ = ["deliver", "deliver_later", "postpone_report", "settle_report", "watch_outbox"]

SOON = 0.1
"""Seconds: how soon a report that is overdue wakes Idle; not zero, so that the poll is always begun first."""


def watch_outbox(step: Step) -> None:
    """Wake Idle when the next report is due."""
    if step.data.outbox:
        due = min(pending.due for pending in step.data.outbox)
        message = Message(event=Event.REPORT_DUE, scopes=step.data.scopes)
        step.ask(Arm(timer=Timer.REPORT, delay=max(SOON, due - step.now), message=message, scopes=step.data.scopes))


def deliver(step: Step) -> None:
    """Tell the report that has waited longest."""
    # The earliest, even if it is due only in a moment: a clock may ring a rounding error too soon.
    pending = min(step.data.outbox, key=lambda p: p.due)
    step.data.delivering = pending.report.id
    step.experiment = step.experiment or pending.report.experiment
    step.ask(Deliver(scopes=step.data.scopes, report=pending.report))


def deliver_later(step: Step) -> None:
    """Tell it again, after back-off."""
    pending = next(p for p in step.data.outbox if p.report.id == step.data.delivering)
    pending.tries += 1
    step.attempt = pending.tries
    step.experiment = pending.report.experiment
    delay = retry_delay(pending.tries, step.rng)
    step.ask(Deliver(scopes=step.data.scopes, report=pending.report, delay=delay))


def settle_report(step: Step) -> None:
    """The report leaves the outbox."""
    data = step.data
    pending = next(p for p in data.outbox if p.report.id == data.delivering)
    data.outbox.remove(pending)
    step.delivered, data.delivering = pending.report.id, ""
    step.experiment = pending.report.experiment
    step.outcome = _outcome(step.message)


def _outcome(message: Message) -> str:
    if message.event is Event.REPORT_DELIVERED:
        return "sent"
    expired = isinstance(message, Problem) and message.code == "expired"
    return "expired" if expired else "undeliverable"


def postpone_report(step: Step) -> None:
    """The report stays for a later time."""
    pending = next(p for p in step.data.outbox if p.report.id == step.data.delivering)
    pending.postponed += 1
    pending.due = step.now + retry_delay(pending.postponed, step.rng, first=30.0, cap=600.0)
    pending.tries, step.data.delivering = 0, ""
    step.experiment = pending.report.experiment
