"""The table as JSON: for programs, and for pages that light up the arrow of the step just taken."""

from __future__ import annotations

import json
from typing import Any

from fedenvoy_statecharts.model import Chart, Row, Vocabulary
from fedenvoy_statecharts.render.dot import edge_id
from fedenvoy_statecharts.render.view import View, view_of

__all__ = ["as_json"]


def as_json(chart: Chart) -> str:
    """Write the whole chart; keys sorted, rows in table order."""
    view = view_of(chart)
    document = {
        "name": chart.name,
        "states": [_state(chart, state) for state in chart.states],
        "events": [_word(event) | {"scope": str(scope)} for event, scope in chart.events.items()],
        "guards": [_word(guard) for guard in chart.guards],
        "effects": [_word(effect) for effect in chart.effects],
        "initial": {
            "event": str(chart.initial.event),
            "target": str(chart.initial.target),
            "effects": [str(effect) for effect in chart.initial.effects],
        },
        "rows": [_row(view, row) for row in chart.rows],
        "ignored": [
            {"state": str(i.state), "event": str(i.event), "why": str(i.why), "note": i.note} for i in chart.ignored
        ],
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _word(word: Vocabulary) -> dict[str, Any]:
    return {"name": str(word), "doc": word.doc}


def _state(chart: Chart, state: Vocabulary) -> dict[str, Any]:
    return _word(state) | {"activity": chart.activities.get(state, ""), "final": state in chart.final}


def _row(view: View, row: Row) -> dict[str, Any]:
    return {
        "id": view.chart.row_id(row),
        "source": str(row.source),
        "event": str(row.event),
        "scope": str(view.chart.events[row.event]),
        "conditions": [{"guard": str(c.guard), "expected": c.expected} for c in row.conditions],
        "target": None if row.target is None else str(row.target),
        "effects": [str(effect) for effect in row.effects],
        "note": row.note,
        "edge": next((edge_id(edge) for edge in view.edges if row in edge.rows), None),
    }
