"""The table as Markdown: the form in which an audit reads it, with everything that a picture leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fedenvoy_statecharts.model import Chart, Ignored, Row, Vocabulary
from fedenvoy_statecharts.render.view import guard_text

__all__ = ["markdown"]

_KEY = """\
`-` as target: an internal row; it is recorded and its effects run, while state and activity stay. A row that leads
back to its own state (↻) enters it anew."""


def markdown(chart: Chart) -> str:
    """Write states, rows and ignored pairs, and what every word means."""
    parts = [
        f"# Lifecycle of the {chart.name}",
        "Made from the table in `fedenvoy_statecharts/lifecycle.py`; change a row there, not this text.",
        "## States",
        _table(("state", "means", "what runs there"), (_state(chart, state) for state in chart.states)),
        _session(chart),
        "## Rows",
        _KEY,
        *_rows(chart),
        "## Ignored pairs",
        "Every pair of state and event that has no row, and why.",
        _table(("event", "ignored in", "why", "note"), _ignored(chart)),
        "## Words",
        _table(("event", "scope", "means"), ((f"`{e}`", str(s), e.doc) for e, s in chart.events.items())),
        _table(("guard", "asks whether"), ((str(guard), guard.doc) for guard in chart.guards)),
        _table(("effect", "means"), ((str(effect), effect.doc) for effect in chart.effects)),
        _table(("scope", "what makes an event of it stale"), _scopes(chart)),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _listed(words: Iterable[Vocabulary], mark: str = "") -> str:
    return ", ".join(f"{mark}{word}{mark}" for word in words)


def _session(chart: Chart) -> str:
    begin, end = chart.initial, [state for state in chart.states if state in chart.final]
    first = _listed(begin.effects)
    return f"A session begins with `{begin.event}` in **{begin.target}** ({first}); it ends in {_listed(end, '**')}."


def _state(chart: Chart, state: Vocabulary) -> tuple[str, str, str]:
    mark = " (final)" if state in chart.final else " (initial)" if state == chart.initial.target else ""
    return f"**{state}**{mark}", state.doc, chart.activities.get(state, "-")


def _rows(chart: Chart) -> Iterator[str]:
    """Write one table for each source."""
    for state in chart.states:
        mine = [row for row in chart.rows if row.source == state]
        if mine:
            yield f"### {state}"
            head = ("id", "event", "scope", "guard", "target", "effects", "note")
            yield _table(head, (_row(chart, row) for row in mine))


def _row(chart: Chart, row: Row) -> tuple[str, ...]:
    target = "-" if row.target is None else f"↻ {row.target}" if row.target == row.source else str(row.target)
    scope = str(chart.events[row.event])
    return chart.row_id(row), f"`{row.event}`", scope, guard_text(row), target, _listed(row.effects), row.note


def _ignored(chart: Chart) -> Iterator[tuple[str, str, str, str]]:
    """Write the pairs that share event, reason and note as one line."""
    groups: dict[tuple[str, str, str], list[Ignored]] = {}
    for event in chart.events:
        for entry in chart.ignored:
            if entry.event == event:
                groups.setdefault((str(event), str(entry.why), entry.note), []).append(entry)
    for (event_name, why, note), entries in groups.items():
        yield f"`{event_name}`", ", ".join(str(entry.state) for entry in entries), why, note


def _scopes(chart: Chart) -> Iterator[tuple[str, str]]:
    """Write the scopes that the events have, in the order in which they are first used."""
    for scope in dict.fromkeys(chart.events.values()):
        yield str(scope), scope.doc
