"""How sharp the checks are: every single change of the table is made, and the checks must notice it by a property.

A change that no property notices is a survivor. Each survivor needs a reason why such a table would be just as right;
without one, either a property is missing or a row is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fedenvoy_statecharts.checks import check
from fedenvoy_statecharts.checks.reasons import reason_for
from fedenvoy_statecharts.model import Chart, ChartError, Condition, Ignored, Row, Scope, Why
from fedenvoy_statecharts.vocabulary import State

__all__ = ["KINDS", "Mutation", "Outcome", "mutations", "run"]

_Change = tuple[str, str, str, Row]
"""Kind, words, detail, and the changed row."""

KINDS = ("drop", "retarget", "weaken", "negate", "effect", "scope")
"""Drop a row; change its target; drop one condition; negate one; drop one effect; change an event's scope."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change.

    Attributes:
        kind: One of KINDS.
        what: The change, in words.
        row: The row changed; None for a scope.
        detail: What was changed in it: a target, a guard, an effect or "event: scope".
        build: Makes the changed chart; raises ChartError where construction refuses it.

    """

    kind: str
    what: str
    row: Row | None
    detail: str
    build: Callable[[], Chart]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutation.

    Attributes:
        mutation: The change.
        noticed: The number of the property that noticed it; None for a survivor.
        reason: For a survivor: why the changed table would be just as right; empty when nobody knows.

    """

    mutation: Mutation
    noticed: int | None
    reason: str = ""


def mutations(chart: Chart) -> Iterator[Mutation]:
    """Give every single change, in table order."""
    for row in chart.rows:
        name = f"{chart.row_id(row)} {row}"
        yield Mutation("drop", f"{name}: dropped", row, "", partial(_without, chart, row))
        changes = (*_retargeted(row), *_reguarded(row), *_fewer_effects(row))
        for kind, words, detail, other in changes:
            rows = tuple(other if each is row else each for each in chart.rows)
            yield Mutation(kind, f"{name}: {words}", row, detail, _builder(chart, rows=rows))
    yield from _rescoped(chart)


def _rescoped(chart: Chart) -> Iterator[Mutation]:
    for event, declared in chart.events.items():
        for scope in Scope:
            if scope is not declared:
                scopes = {**chart.events, event: scope}
                words = f"{event}: scope {scope} instead of {declared}"
                yield Mutation("scope", words, None, f"{event}: {scope}", _builder(chart, events=scopes))


def _builder(chart: Chart, **changed: Any) -> Callable[[], Chart]:
    return lambda: replace(chart, **changed)


def _without(chart: Chart, row: Row) -> Chart:
    """Drop a row; if its pair has no other, claim that the event cannot come: a hole alone would be too easy to see."""
    rows = tuple(each for each in chart.rows if each is not row)
    if any((each.source, each.event) == (row.source, row.event) for each in rows):
        return replace(chart, rows=rows)
    claim = Ignored(row.source, row.event, Why.IMPOSSIBLE, "claimed by a mutation")
    return replace(chart, rows=rows, ignored=(*chart.ignored, claim))


def _retargeted(row: Row) -> Iterator[_Change]:
    for target in (None, *State):
        if target != row.target:
            words = "internal" if target is None else f"to {target}"
            yield "retarget", words, str(target), replace(row, target=target)


def _reguarded(row: Row) -> Iterator[_Change]:
    for index, condition in enumerate(row.conditions):
        before, after = row.conditions[:index], row.conditions[index + 1 :]
        opposite = Condition(condition.guard, expected=not condition.expected)
        guard = str(condition.guard)
        yield "weaken", f"does not ask for {condition}", guard, replace(row, conditions=(*before, *after))
        yield "negate", f"asks for {opposite}", guard, replace(row, conditions=(*before, opposite, *after))


def _fewer_effects(row: Row) -> Iterator[_Change]:
    for index, effect in enumerate(row.effects):
        fewer = row.effects[:index] + row.effects[index + 1 :]
        yield "effect", f"without {effect!s}", str(effect), replace(row, effects=fewer)


def run(mutation: Mutation) -> Outcome:
    """Make one change and let the checks look at it."""
    try:
        report = check(mutation.build(), stop_at_first=True)
    except ChartError as error:
        return Outcome(mutation, 1 if "could apply" in str(error) else 2)
    if report.findings:
        return Outcome(mutation, report.findings[0].number)
    return Outcome(mutation, None, reason_for(mutation.kind, mutation.row, mutation.detail))
