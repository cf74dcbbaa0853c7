"""The drawing as DOT text for Graphviz; the committed SVG is laid out from exactly this text.

Every node and arrow has an id and a class, so that a page which inlines the SVG can colour it and light up the current
state. Arrows that lead back are written forwards with `dir=back`: the layout then gives their labels room of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from fedenvoy_statecharts.model import Chart, Row
from fedenvoy_statecharts.render.view import Box, Edge, Kind, Node, View, guard_text, view_of

__all__ = ["dot", "edge_id", "label_of"]

_COLOURS = {
    Kind.HAPPY: "#1a7f37",
    Kind.OTHER: "#0b5fb0",
    Kind.LOST: "#b35900",
    Kind.FAILURE: "#b42318",
    Kind.STOP: "#57606a",
}
_LOOKS = {Kind.HAPPY: "penwidth=2.6", Kind.STOP: "style=dashed", Kind.FAILURE: "penwidth=1.2"}
_MEANINGS = {
    Kind.HAPPY: "the path of an experiment",
    Kind.OTHER: "other ways on",
    Kind.LOST: "the link is lost",
    Kind.FAILURE: "a verdict other than finished",
    Kind.STOP: "the session ends",
}


_GLUE = "\N{NO-BREAK SPACE}"


def edge_id(edge: Edge) -> str:
    """Give the id that the arrow has in DOT and SVG."""
    return f"edge-{edge.source}-{edge.target}-{edge.kind.value}"


def dot(chart: Chart) -> str:
    """Draw the whole chart."""
    view = view_of(chart)
    body = [
        "// Made from the table; change a row there, not this text.",
        'graph [rankdir=TB, nodesep=0.2, ranksep=0.45, fontname="Helvetica", fontsize=11,',
        f"  labelloc=b, label={_caption(chart)}];",
        'node [shape=box, style="rounded,filled", fillcolor="#f4f7fb", color="#5b6b7f", fontcolor="#1b2733",',
        '  fontname="Helvetica", fontsize=12, margin="0.12,0.06"];',
        'edge [fontname="Helvetica", fontsize=11, arrowsize=0.8];',
        "",
        'start [shape=circle, label="", width=0.16, style=filled, fillcolor="#1b2733", id="start", group=spine];',
        *(line for node in view.nodes if not view.is_framed(node.name) for line in _node(node)),
        *(line for box in view.framed for line in _box(box, view)),
        "",
        f'start -> {chart.initial.target} [label="{chart.initial.event}", weight=60, id="edge-start"];',
        *(_edge(edge, view) for edge in view.edges),
    ]
    return f'digraph "{_escape(chart.name)}" {{\n' + "".join(f"  {line}".rstrip() + "\n" for line in body) + "}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _caption(chart: Chart) -> str:
    """Say how to read the picture, under it."""
    keys = "&nbsp;&nbsp;&nbsp; ".join(
        f'<FONT COLOR="{_COLOURS[kind]}"><B>{"- -" if kind is Kind.STOP else "—"}</B> {_MEANINGS[kind]}</FONT>'
        for kind in Kind
    )
    return (
        f"<<B>{_html(chart.name)}</B><BR/>{keys}<BR/>"
        "↻ enters the same state anew. Boxes are no states: an arrow from “in any of these” "
        "stands for one from each.<BR/>A guard belongs to the events above it, up to the guard before. "
        "Internal rows, effects and scopes stand in the table.>"
    )


def _node(node: Node) -> Iterator[str]:
    lines = [f"<B>{_html(node.name)}</B>", f'<FONT POINT-SIZE="11">{_html(node.activity or node.doc)}</FONT>']
    lines += [_small("↻ " + _html(line.text)) for line in node.retries]
    lines += [_small(f"{_html(line.text)} in " + ", ".join(line.sources)) for line in node.arrivals]
    shape = ", peripheries=2" if node.final else ""
    kind = "state final" if node.final else "state"
    yield (
        f'{node.name} [label=<{"<BR/>".join(lines)}>, id="state-{node.name}", class="{kind}", group=spine{shape},'
        f' tooltip="{_escape(node.doc)}"];'
    )


def _small(text: str) -> str:
    return f'<FONT POINT-SIZE="10">{text}</FONT>'


def _box(box: Box, view: View) -> Iterator[str]:
    yield f"subgraph cluster_{box.name} {{"
    yield f'  label="{_escape(box.title)}"; labelloc=t; labeljust=l; style="rounded,filled"; color="#c5ccd6";'
    yield f'  fillcolor="#fbfcfe"; fontcolor="#57606a"; id="box-{box.name}"; class="box";'
    yield (
        f'  any_{box.name} [label="in any of these", style="rounded,dashed", fontsize=9, fontcolor="#57606a",'
        f' id="any-{box.name}", class="any", tooltip="each state in this box"];'
    )
    for node in view.nodes:
        if node.name in box.members:
            yield from (f"  {line}" for line in _node(node))
    yield "}"


def _glued(guard: str) -> str:
    return "[" + ", ".join(condition.replace(" ", _GLUE) for condition in guard.split(", ")) + "]"


def label_of(edge: Edge) -> list[str]:
    """Give the lines of an arrow's label: one for each event, and a guard below the events that share it."""
    lines: list[str] = []
    for line in edge.lines:
        lines += line.events
        if line.guard:
            # A condition is never broken: the spaces inside it do not count as places to break at.
            lines += [part.replace(_GLUE, " ") for part in wrap(_glued(line.guard), 26)]
    return lines


def _edge(edge: Edge, view: View) -> str:
    source = f"any_{edge.source}" if any(edge.source == box.name for box in view.boxes) else edge.source
    colour = _COLOURS[edge.kind]
    rows = "".join(f'<TR><TD ALIGN="LEFT">{_html(line)}</TD></TR>' for line in label_of(edge))
    label = (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR><TD WIDTH="4"></TD><TD>'
        f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{rows}</TABLE></TD></TR></TABLE>>'
    )
    parts = [
        f"label={label}",
        f'color="{colour}"',
        f'fontcolor="{colour}"',
        f'id="{edge_id(edge)}"',
        f'class="{edge.kind.value}"',
        f'tooltip="{_escape(_tooltip(view.chart, edge.rows))}"',
    ]
    if edge.kind in _LOOKS:
        parts.append(_LOOKS[edge.kind])
    if edge.kind is Kind.HAPPY or source == view.nodes[-2].name:
        parts.append("weight=60" if not edge.back else "weight=1")
    ends = f"{edge.target} -> {source}" if edge.back else f"{source} -> {edge.target}"
    if edge.back:
        parts.append("dir=back")
    return f"{ends} [{', '.join(parts)}];"


def _tooltip(chart: Chart, rows: tuple[Row, ...]) -> str:
    """Give each row in full, effects included, for those who point at the arrow."""
    return "&#10;".join(
        f"{chart.row_id(row)} {row.event} ({chart.events[row.event]})"
        + (f" [{guard_text(row)}]" if row.conditions else "")
        + (": " + ", ".join(map(str, row.effects)) if row.effects else "")
        for row in rows
    )
