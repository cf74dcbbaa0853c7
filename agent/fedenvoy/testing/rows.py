"""One test case for each row of a chart: the shortest way to where the row can be taken, and then the row.

Nothing is drawn by chance, so a failing case is the same in every run and its name is the row's. pytest is loaded when
cases are asked for as a decorator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedenvoy_statecharts import LIFECYCLE, Chart, ChartError, Row

from fedenvoy.testing.facts import facts_for
from fedenvoy.testing.paths import Facts, Paths, Shown, Step

if TYPE_CHECKING:
    import pytest

__all__ = ["RowCase", "every_row", "row_cases"]


@dataclass(frozen=True, slots=True, repr=False)
class RowCase(Shown):
    """A row, and a shortest way to it.

    Attributes:
        id: The row's stable name ("R17").
        row: The row.
        path: The steps from the start of a session to where the row can be taken.
        step: The step that takes it.

    """

    id: str
    row: Row
    path: tuple[Step, ...]
    step: Step

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of it: the path, then the row."""
        return *self.path, self.step

    @property
    def name(self) -> str:
        """A name for people and for `pytest -k`: the row's own, its source, its event and its goal."""
        return f"{self.id}-{self.row.source}-{self.row.event}-{self.row.goal}"

    def __repr__(self) -> str:
        return f"{self.id} after {len(self.path)} steps: {self.row}"


def row_cases(chart: Chart = LIFECYCLE, *, facts: Facts | None = None) -> tuple[RowCase, ...]:
    """Give one case for each row, in table order.

    Args:
        chart: The chart.
        facts: What rules a session beside the table; None: the agent's own for a chart in the agent's words, else none.

    Raises:
        ChartError: Some rows are never taken; the message names them.

    """
    paths = Paths(chart, facts_for(chart, facts))
    unreached = [row for row in chart.rows if row not in paths.places]
    if unreached:
        named = "; ".join(f"{chart.row_id(row)} {row}" for row in unreached)
        raise ChartError(f"no way through {chart.name!r} leads to {named}")
    return tuple(_case(paths, row) for row in chart.rows)


def _case(paths: Paths, row: Row) -> RowCase:
    nearest = paths.places[row][0]
    path = tuple(paths.step(*before) for before in paths.way_to(nearest))
    return RowCase(paths.chart.row_id(row), row, path, paths.step(nearest, row))


def every_row(chart: Chart = LIFECYCLE, *, facts: Facts | None = None, argument: str = "case") -> pytest.MarkDecorator:
    """Run a test once for each row of a chart.

    For example::

        @every_row()
        def test_the_lease_is_given_back(case: RowCase) -> None:
            for step in case.steps: ...

    Args:
        chart: The chart.
        facts: As for `row_cases`.
        argument: Name of the test's argument that gets the case.

    Raises:
        ChartError: As for `row_cases`.

    """
    import pytest  # noqa: PLC0415 - charts and their ways need no pytest

    cases = [pytest.param(case, id=case.name) for case in row_cases(chart, facts=facts)]
    return pytest.mark.parametrize(argument, cases)
