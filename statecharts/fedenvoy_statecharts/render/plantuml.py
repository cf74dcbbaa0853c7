"""The drawing as PlantUML text, for those whose documents are made with it."""

from __future__ import annotations

from collections.abc import Iterator

from fedenvoy_statecharts.model import Chart
from fedenvoy_statecharts.render.dot import label_of
from fedenvoy_statecharts.render.view import Box, Edge, Node, View, guard_text, view_of

__all__ = ["plantuml"]


def plantuml(chart: Chart) -> str:
    """Draw the whole chart; its internal rows stand in a note."""
    view = view_of(chart)
    body = [
        "@startuml",
        "' Made from the table; change a row there, not this text.",
        f"title {chart.name}",
        "hide empty description",
        *(line for node in view.nodes if not view.is_framed(node.name) for line in _node(node)),
        *(line for box in view.framed for line in _box(box, view)),
        f"[*] --> {chart.initial.target} : {chart.initial.event}",
        *(_edge(edge, view) for edge in view.edges),
        *(f"{state} --> [*]" for state in chart.states if state in chart.final),
        *_note(view),
        "@enduml",
    ]
    return "\n".join(body) + "\n"


def _node(node: Node) -> Iterator[str]:
    yield f'state "{node.name}" as {node.name}'
    yield f"{node.name} : {node.activity or node.doc}"
    yield from (f"{node.name} : ↻ {line.text}" for line in node.retries)
    yield from (f"{node.name} : {line.text} in {', '.join(line.sources)}" for line in node.arrivals)


def _box(box: Box, view: View) -> Iterator[str]:
    yield f'state "{box.title}" as {box.name} {{'
    yield f'  state "in any of these" as any_{box.name}'
    for node in view.nodes:
        if node.name in box.members:
            yield from (f"  {line}" for line in _node(node))
    yield "}"


def _edge(edge: Edge, view: View) -> str:
    source = f"any_{edge.source}" if any(edge.source == box.name for box in view.boxes) else edge.source
    label = "\\n".join(label_of(edge))
    return f"{source} {'-up->' if edge.back else '-->'} {edge.target} : {label}"


def _note(view: View) -> Iterator[str]:
    if not view.internal:
        return
    yield "note as internal"
    yield "Internal rows: state and activity stay"
    for row in view.internal:
        guard = f" [{guard_text(row)}]" if row.conditions else ""
        effects = ", ".join(map(str, row.effects)) or "nothing but the record"
        yield f"{row.source}, {row.event}{guard}: {effects}"
    yield "end note"
