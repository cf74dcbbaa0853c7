"""Whether a chart keeps what is promised of it: the twelve properties, decided by looking at everything.

The table is read directly; what cannot be seen on the table is decided on a small model of the agent and its
surroundings, explored to the last configuration. Nothing here is shared with the running agent.
"""

from __future__ import annotations

from fedenvoy_statecharts.checks.explore import explore
from fedenvoy_statecharts.checks.outlook import check_outlook
from fedenvoy_statecharts.checks.report import PROPERTIES, Finding, Report
from fedenvoy_statecharts.checks.table import check_table
from fedenvoy_statecharts.model import Chart, ChartError
from fedenvoy_statecharts.vocabulary import Effect, Event, Guard, State

__all__ = ["PROPERTIES", "Finding", "Report", "check"]

_MODEL = frozenset({2, 3, 4, 6, 7, 8, 9, 11, 12})
"""What is decided on the model, in whole or in part."""


def check(chart: Chart, *, stop_at_first: bool = False) -> Report:
    """Decide all properties of a chart that is written in the words of the lifecycle.

    Args:
        chart: The chart.
        stop_at_first: Whether one broken property is enough; then the others are not all looked at.

    Raises:
        ChartError: When the chart is written in other words, whose meaning is not known here.

    """
    _same_words(chart)
    broken: dict[int, Finding] = {}
    for finding in check_table(chart):
        broken.setdefault(finding.number, finding)
        if stop_at_first:
            return Report((finding,), undecided=frozenset(PROPERTIES) - {finding.number})
    if broken.keys() & {1, 2}:
        return Report(_sorted(broken), undecided=_MODEL - broken.keys())
    seen = explore(chart, stop_at_first=stop_at_first)
    if not (stop_at_first and seen.broken):
        check_outlook(chart, seen)
    for number, (problem, trace) in seen.broken.items():
        broken.setdefault(number, Finding(number, problem, trace))
    return Report(
        _sorted(broken),
        undecided=frozenset(PROPERTIES) - broken.keys() if stop_at_first and seen.broken else frozenset(),
        configurations=len(seen.reached_by),
        steps=sum(map(len, seen.moves.values())),
    )


def _sorted(broken: dict[int, Finding]) -> tuple[Finding, ...]:
    return tuple(broken[number] for number in sorted(broken))


def _same_words(chart: Chart) -> None:
    for kind, words in ((State, chart.states), (Event, chart.events), (Guard, chart.guards), (Effect, chart.effects)):
        strange = [str(word) for word in words if not isinstance(word, kind)]
        if strange:
            raise ChartError(
                f"the chart {chart.name!r} has {kind.__name__.lower()}s of its own ({', '.join(strange)}): "
                "the properties speak of the lifecycle's words only"
            )
