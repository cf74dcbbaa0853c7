"""What can be said once everything was explored: no row is dead (3), a stop ends (8), a verdict is sent (12)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedenvoy_statecharts.checks.explore import Explored, Move
from fedenvoy_statecharts.checks.parts import (
    ABSENCE_CLOCK,
    CHECKS,
    DELIVERY,
    DIAL,
    FETCH,
    OPERATOR,
    POLL,
    PROCESS,
    STOP_CLOCK,
    WATCH,
    Part,
)
from fedenvoy_statecharts.checks.world import Config
from fedenvoy_statecharts.model import Chart
from fedenvoy_statecharts.vocabulary import Effect, Event, State

__all__ = ["check_outlook"]

_SETS_CLOCK = {Effect.DRAIN, Effect.BOUND}
_WELL: dict[Part, set[Event]] = {
    CHECKS: {Event.HEALTH_CHECKED, Event.SHARD_FORGOTTEN},
    DELIVERY: {Event.REPORT_DELIVERED, Event.REPORT_UNDELIVERABLE},
    DIAL: {Event.REGISTRATION_ACCEPTED, Event.SHARD_FORGOTTEN},
    FETCH: set(FETCH.events) - {Event.FETCH_INTERRUPTED},
    POLL: set(),
    WATCH: set(),
    OPERATOR: set(),
    ABSENCE_CLOCK: set(),
    STOP_CLOCK: set(),
}
"""What can be relied on when a good director is at the other end; of parts not named, everything.

It need not offer anything, ever; nor need the operator do anything; and the absence clock is a choice of the site.
"""


def check_outlook(chart: Chart, seen: Explored) -> None:
    """Look at everything that was explored, and note what breaks."""
    _no_dead_rows(chart, seen)
    _ends_by_clock(seen)
    _clock_is_not_moved(seen)
    _comes_home(seen)


def _no_dead_rows(chart: Chart, seen: Explored) -> None:
    """3: a row that can never be taken promises something that does not happen.

    Asked only where nothing else is broken: a break elsewhere often is what keeps the row from being taken.
    """
    taken = {move.row for moves in seen.moves.values() for move, _after in moves}
    for row in chart.rows:
        if row not in taken and not seen.broken:
            seen.broken[3] = ("a row can never be taken", (f"{chart.row_id(row)} {row}",))


def _going(seen: Explored, *, asked: bool) -> list[Config]:
    return [c for c in seen.moves if c.state is not State.STOPPED and c.asked is asked]


def _backwards(seen: Explored, goals: Iterable[Config], allowed: Callable[[Config, Move], bool]) -> set[Config]:
    """Give every configuration from which a goal can be reached by allowed moves."""
    before: dict[Config, list[Config]] = {}
    for config, moves in seen.moves.items():
        for move, after in moves:
            if allowed(config, move):
                before.setdefault(after, []).append(config)
    reached = set(goals)
    todo = list(reached)
    while todo:
        for config in before.get(todo.pop(), ()):
            if config not in reached:
                reached.add(config)
                todo.append(config)
    return reached


def _ends_by_clock(seen: Explored) -> None:
    """8: with nothing but its clock, a stop ends; two rings at most, for a drain and a delivery."""
    ended = {config for config in seen.reached_by if config.state is State.STOPPED}
    for _ in range(2):
        for config in _going(seen, asked=True):
            rings = [after for move, after in seen.moves[config] if move.source is STOP_CLOCK]
            if rings and all(after in ended for after in rings):
                ended.add(config)
    for config in _going(seen, asked=True):
        if config not in ended:
            seen.note(8, "a stop was asked for, and its clock does not end it", config)


def _clock_is_not_moved(seen: Explored) -> None:
    """8: nothing that can happen again and again sets the stop clock anew."""
    for config in _going(seen, asked=True):
        for move, after in seen.moves[config]:
            if move.row is None or not _SETS_CLOCK & set(move.row.effects) or after.state is State.STOPPED:
                continue
            if after == config or config in _onwards(seen, after):
                seen.note(8, "the end of a stop can be put off again and again", config, move.label)


def _onwards(seen: Explored, start: Config) -> set[Config]:
    """Give every configuration of the same stop that can follow."""
    reached, todo = {start}, [start]
    while todo:
        for _move, after in seen.moves.get(todo.pop(), ()):
            if after.asked and after.state is not State.STOPPED and after not in reached:
                reached.add(after)
                todo.append(after)
    return reached


def _well(config: Config, move: Move) -> bool:
    """Whether a step needs nothing but a director that answers; a process that nobody drives need not end."""
    if move.source is None:
        return False
    if move.source is PROCESS:
        return config.driven
    return move.source not in _WELL or move.event in _WELL[move.source]


def _comes_home(seen: Explored) -> None:
    """12: from everywhere the node comes to Idle with an empty outbox."""
    home = [config for config in seen.moves if config.state is State.IDLE and not config.outbox]
    reaching = _backwards(seen, home, _well)
    for config in _going(seen, asked=False):
        if config not in reaching:
            seen.note(12, f"from here, in {config.state}, the node never comes to Idle with an empty outbox", config)
