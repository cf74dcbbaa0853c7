"""Why a table with a certain change would be just as right: the changes that no property can notice, and the reason.

Each reason is bound to exactly the changes it was thought through for. A new survivor has none until somebody finds
one, or finds the property that is missing.
"""

from __future__ import annotations

from fedenvoy_statecharts.model import Row, unless
from fedenvoy_statecharts.vocabulary import Effect, Event, Guard, State

__all__ = ["reason_for"]

_ONCE = "its state is entered once in a run and left with it, so that entry and run begin and end together"
_FIRST = "the description runs once, in the first entry of the session, before any run or link"
_CUT = "a delivery is cut short by the end of its link or of the session only, and no run is in hand meanwhile"

_SCOPES: dict[Event, tuple[set[str], str]] = {
    Event.SHARD_DESCRIBED: ({"run", "link", "run and link", "agent"}, _FIRST),
    Event.SHARD_UNUSABLE: ({"run", "link", "run and link", "agent"}, _FIRST),
    Event.EXPERIMENT_WITHDRAWN: ({"run"}, _ONCE),
    Event.ARCHIVE_SETTLED: ({"run"}, _ONCE),
    Event.FETCH_INTERRUPTED: ({"run"}, _ONCE),
    Event.EXPERIMENT_UNUSABLE: ({"run"}, _ONCE),
    Event.PLAN_APPROVED: ({"activity"}, _ONCE),
    Event.PLAN_REJECTED: ({"activity"}, _ONCE),
    Event.REQUIREMENTS_READY: ({"run"}, _ONCE),
    Event.REQUIREMENTS_FAILED: ({"run"}, _ONCE),
    Event.TRAINING_FINISHED: ({"activity"}, _ONCE),
    Event.TRAINING_FAILED: ({"activity"}, _ONCE),
    Event.REPORT_DELIVERED: ({"link", "run and link"}, _CUT),
    Event.REPORT_FAILED: ({"link", "run and link"}, _CUT),
    Event.REPORT_UNDELIVERABLE: ({"link", "run and link"}, _CUT),
}

_LOST = {Event.DIRECTOR_LOST, Event.SHARD_FORGOTTEN, Event.LINK_REJECTED}
_BEFORE_TRAINING = {State.REVIEWING_PLAN, State.INSTALLING_REQUIREMENTS}


def reason_for(kind: str, row: Row | None, detail: str) -> str:
    """Give the reason why a survivor is just as right; empty when none is known."""
    if row is None:
        return _of_scope(detail)
    if kind == "retarget":
        return _of_target(row, detail)
    if kind == "effect":
        return _of_effect(row, detail)
    return ""


def _of_scope(detail: str) -> str:
    name, _, scope = detail.partition(": ")
    known, reason = _SCOPES.get(next(event for event in Event if event.value == name), (set(), ""))
    return reason if scope in known else ""


def _of_target(row: Row, target: str) -> str:
    stays = {"None", str(row.source)}
    if target in stays and (row.internal or row.target == row.source):
        return "only the entry number differs: what an entry would end has ended, or is begun by the same row"
    if target == "None" and row.source is State.REPORTING and row.event in _LOST:
        return "the redial goes on behind the delivery, as it does behind other work, and the failed delivery leads on"
    return ""


def _of_effect(row: Row, effect: str) -> str:
    if effect == Effect.NOTE_STOP and row.target is State.STOPPED:
        return "the session ends with the same step, so nobody asks for it any more"
    if effect == Effect.BOUND and row.source in _BEFORE_TRAINING and row.event is not Event.STOP_REQUESTED:
        return f"it says 'when stopping', and no stop ever goes on in {row.source} (8)"
    if effect == Effect.DECLINE and row.source is State.IDLE:
        return "a note for people: `poll later` makes the pause"
    if effect == Effect.DECLINE and unless(Guard.LINK_UP) in row.conditions:
        return "the archive is fetched again only after a redial, and the link must be lost each time"
    if effect == Effect.START_ORPHAN_CLOCK and row.event is Event.REGISTRATION_REFUSED:
        return "a director that was restarted is heard as shard_forgotten before it can refuse, which starts the clock"
    return ""
