"""The running machine: the chart's rows, executed by the `transitions` library. The only importer of it.

The library holds the state and walks the rows; what a row means, and when an event is stale, is decided elsewhere.
Callers see two things: `state`, and `fire(event, valuation)`, which gives the row that was taken. Nothing can be hooked
into a transition, so nothing can raise in the middle of one: the state a caller sees is always a settled one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from fedenvoy_statecharts import LIFECYCLE, Chart, ChartError, Guard, Row, State
from fedenvoy_statecharts.model import Vocabulary
from transitions import Machine

__all__ = ["LifecycleMachine"]


class _Model:
    """What the library moves: a state and the row just taken. It has no method that a trigger could be shadowed by."""

    state: str
    taken: Row | None = None


def _conditions(row: Row) -> list[Callable[[Any], bool]]:
    """Ask the row itself whether it applies; the guards' values travel with the event, so asking changes nothing."""
    return [lambda data: row.holds(data.kwargs["valuation"])] if row.conditions else []


def _note(row: Row) -> Callable[[Any], None]:
    """Remember which row was taken."""

    def before(data: Any) -> None:
        data.model.taken = row

    return before


class LifecycleMachine:
    """One chart being run.

    Attributes:
        chart: The chart whose rows are followed.

    """

    def __init__(self, chart: Chart = LIFECYCLE) -> None:
        library = logging.getLogger("transitions")
        if library.level == logging.NOTSET:  # it tells several lines a step at INFO; the agent tells each step once
            library.setLevel(logging.WARNING)
        self.chart = chart
        self._ids = {id(row): name for name, row in chart.named_rows()}
        self._by_value = {state.value: state for state in chart.states}
        self._model = _Model()
        self._machine = Machine(
            model=self._model,
            states=[state.value for state in chart.states],
            initial=chart.initial.target.value,
            transitions=[self._transition(row) for row in chart.rows],
            auto_transitions=False,
            send_event=True,
        )

    @staticmethod
    def _transition(row: Row) -> dict[str, Any]:
        return {
            "trigger": row.event.value,
            "source": row.source.value,
            "dest": None if row.target is None else row.target.value,
            "conditions": _conditions(row),
            "before": _note(row),
        }

    @property
    def state(self) -> State:
        """The state the machine is settled in."""
        state = self._by_value[self._model.state]
        assert isinstance(state, State)
        return state

    def row_id(self, row: Row) -> str:
        """Give the stable name of a row that `fire` gave."""
        return self._ids[id(row)]

    def fire(self, event: Vocabulary, valuation: Mapping[Guard, bool]) -> Row | None:
        """Take the row that applies.

        Args:
            event: What happened; it must be current (see `events.Scopes`).
            valuation: The truth value of every guard.

        Returns:
            The row taken, or None when the chart ignores the event in this state.

        Raises:
            ChartError: When the pair has rows and none applies: the chart has a hole.

        """
        if not self.chart.at(self.state, event):
            return None
        if not self._machine.events[event.value].trigger(self._model, valuation=valuation):
            raise ChartError(f"no row applies to {event} in {self.state} with {dict(valuation)}")
        return self._model.taken
