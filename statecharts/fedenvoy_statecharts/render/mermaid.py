"""The drawing as Mermaid text: the whole chart, and a simple one for a first look.

GitHub, GitLab and most wikis draw these texts themselves, each with a Mermaid of its own, so only constructs that
versions 11 and 12 both draw well are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from fedenvoy_statecharts.model import Chart, Row
from fedenvoy_statecharts.render.view import Box, Kind, Line, Node, View, lines_of, view_of

__all__ = ["mermaid", "mermaid_overview"]

_HEAD = """\
---
title: {title}
config:
  theme: base
  themeVariables:
    edgeLabelBackground: "#ffffff"
    primaryColor: "#f4f7fb"
    primaryBorderColor: "#5b6b7f"
    primaryTextColor: "#1b2733"
    lineColor: "#5b6b7f"
    fontSize: {size}px
---
stateDiagram-v2
  direction TB
  classDef shared fill:#ffffff,stroke:#5b6b7f,stroke-dasharray:4 3
  classDef final fill:#e8ebef,stroke:#1b2733
"""
_ESCAPES = {"#": "#35;", ";": "#59;", ":": "#58;"}


def _text(text: str) -> str:
    """Keep Mermaid from reading punctuation as its own."""
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def _lines(lines: tuple[Line, ...], *, mark: str = "") -> list[str]:
    """Write one line per event, and the guard that a group of events shares below it."""
    written = []
    for line in lines:
        written += [f"{mark}{_text(event)}" for event in line.events]
        if line.guard:
            written.append(f"[{_text(line.guard)}]")
    return written


def mermaid(chart: Chart) -> str:
    """Draw the whole chart."""
    view = view_of(chart)
    body = [
        *_header(chart),
        *_nodes(view),
        *(line for box in view.framed for line in _box(box)),
        "",
        f"[*] --> {chart.initial.target} : {chart.initial.event}",
        *(_edge(*group, view) for group in _arrows(view)),
        *(f"{state} --> [*]" for state in chart.states if state in chart.final),
    ]
    return _HEAD.format(title=json.dumps(chart.name, ensure_ascii=False), size=14) + "".join(
        f"  {line}".rstrip() + "\n" for line in body
    )


def _header(chart: Chart) -> Iterator[str]:
    yield "%% Made from the table; change a row there, not this text."
    yield '%% Boxes are no states: an arrow from "in any of these" stands for one from each state in the box.'
    yield "%% A guard in brackets belongs to the events above it, up to the guard before."
    yield "%% Internal rows, effects and scopes stand in the table (lifecycle.md)."
    if chart.final:
        yield "%% Lines with a turning arrow enter the same state anew."


def _nodes(view: View) -> Iterator[str]:
    for node in view.nodes:
        yield f'state "{node.name}" as {node.name}'
        yield from (f"{node.name} : {line}" for line in _body(node))


def _body(node: Node) -> Iterator[str]:
    yield _text(node.activity or node.doc)
    yield from (f"↻ {_text(line.text)}" for line in node.retries)
    yield from (f"{_text(line.text)} in " + ", ".join(line.sources) for line in node.arrivals)


def _box(box: Box) -> Iterator[str]:
    """Draw the frame; its start node comes first, or Mermaid 11 lays labels over it."""
    yield f'state "{box.title}" as {box.name} {{'
    yield f'  state "in any of these" as any_{box.name}'
    yield from (f"  {member}" for member in box.members)
    yield "}"
    yield f"class any_{box.name} shared"


def _arrows(view: View) -> list[tuple[str, str, tuple[Line, ...]]]:
    """Give one arrow for each pair, the ends first: of ten orders this kept labels apart and the path straight."""
    pairs: dict[tuple[str, str], list[Row]] = {}
    for edge in sorted(view.edges, key=lambda edge: edge.kind is not Kind.STOP):
        pairs.setdefault((edge.source, edge.target), []).extend(edge.rows)
    return [(source, target, lines_of(rows)) for (source, target), rows in pairs.items()]


def _edge(source: str, target: str, lines: tuple[Line, ...], view: View) -> str:
    start = f"any_{source}" if any(source == box.name for box in view.boxes) else source
    return f"{start} --> {target} : {'<br>'.join(_lines(lines))}"


def mermaid_overview(chart: Chart) -> str:
    """Draw the happy path, the ways back and the end, with few words; the whole chart has many more rows."""
    view = view_of(chart)
    body = [
        "%% Made from the table: the happy path, the ways back, the end. The whole chart has many more rows.",
        *(line for box in view.boxes for line in _plain_box(box)),
        f"[*] --> {chart.initial.target}",
        *(f"{source} --> {target} : {label}" for (source, target), label in _ways(view).items()),
        *(f"{state} --> [*]" for state in chart.states if state in chart.final),
    ]
    head = _HEAD.format(title=json.dumps(chart.name, ensure_ascii=False), size=16).replace(
        "direction TB", "direction LR"
    )
    return head + "".join(f"  {line}\n" for line in body)


def _plain_box(box: Box) -> Iterator[str]:
    yield f'state "{box.title}" as {box.name} {{'
    yield from (f"  {member}" for member in box.members)
    yield "}"


def _ways(view: View) -> dict[tuple[str, str], str]:
    """Give one arrow for each way of ordinary life: what goes wrong starts at the box, not at each state in it."""
    ways: dict[tuple[str, str], str] = {}
    for edge in view.edges:
        box = view.box_of(edge.source)
        whole = box.name if box else edge.source
        if edge.kind is Kind.HAPPY:
            ways[edge.source, edge.target] = edge.lines[0].events[0].replace("_", "<br>")
        elif edge.kind is Kind.FAILURE:
            ways[whole, edge.target] = "other verdicts"
        elif edge.kind is Kind.STOP:
            ways[whole, edge.target] = "stop"
        elif edge.back and box is None:
            name = "link lost" if edge.kind is Kind.LOST else edge.lines[0].events[0].replace("_", "<br>")
            ways[edge.source, edge.target] = name
        elif edge.kind is Kind.LOST and box is view.box_of(edge.target):
            ways[edge.source, edge.target] = "link lost"
    return ways
