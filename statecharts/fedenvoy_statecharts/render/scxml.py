"""The table as SCXML, so that an engine which is not ours can run it and be compared with us step for step.

Guards are asked of the event's data (`_event.data.link_up == true`), so the one who drives the engine chooses their
values. Two data items are witnesses: `row` holds the id of the row just taken, and `entries` counts entered states,
which tells a self-transition from an internal row.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from fedenvoy_statecharts.model import Chart, Condition, Row, Vocabulary

__all__ = ["guard_name", "scxml"]

_OURS = "urn:fedenvoy:statechart"


def guard_name(guard: Vocabulary) -> str:
    """Give the guard's name as event data: words joined by underscores."""
    return str(guard).replace(" ", "_")


def scxml(chart: Chart) -> str:
    """Write the whole chart."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<!-- Made from the table; change a row there, not this text. -->",
        f'<scxml xmlns="http://www.w3.org/2005/07/scxml" xmlns:fe="{_OURS}" version="1.0" datamodel="ecmascript"',
        f"  name={quoteattr(chart.name.replace(' ', '_'))} initial={quoteattr(str(chart.initial.target))}>",
        "  <datamodel>",
        '    <data id="row" expr="\'\'"/>',
        '    <data id="entries" expr="0"/>',
        "  </datamodel>",
        *(f"  {line}" for state in chart.states for line in _state(chart, state)),
        "</scxml>",
    ]
    return "\n".join(lines) + "\n"


def _state(chart: Chart, state: Vocabulary) -> Iterator[str]:
    tag = "final" if state in chart.final else "state"
    yield f"<!-- {escape(state.doc)} -->"
    yield f"<{tag} id={quoteattr(str(state))}>"
    yield '  <onentry><assign location="entries" expr="entries + 1"/></onentry>'
    for row in chart.rows:
        if row.source == state:
            yield from (f"  {line}" for line in _transition(chart, row))
    yield f"</{tag}>"


def _transition(chart: Chart, row: Row) -> Iterator[str]:
    parts = [f"event={quoteattr(str(row.event))}"]
    if row.conditions:
        parts.append(f"cond={quoteattr(' && '.join(map(_condition, row.conditions)))}")
    if row.target is not None:
        parts.append(f"target={quoteattr(str(row.target))}")
    parts.append(f"fe:scope={quoteattr(str(chart.events[row.event]))}")
    if row.effects:
        parts.append(f"fe:effects={quoteattr(', '.join(map(str, row.effects)))}")
    yield f"<transition {' '.join(parts)}>"
    yield f'  <assign location="row" expr="\'{chart.row_id(row)}\'"/>'
    yield "</transition>"


def _condition(condition: Condition) -> str:
    return f"_event.data.{guard_name(condition.guard)} == {'true' if condition.expected else 'false'}"
