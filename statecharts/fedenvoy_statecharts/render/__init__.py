"""Drawings and texts of a chart, computed from its rows and equal byte for byte on every machine.

Nothing here knows the agent; a drawing shows the table and only the table.
"""

from __future__ import annotations

from collections.abc import Callable

from fedenvoy_statecharts.model import Chart
from fedenvoy_statecharts.render.data import as_json
from fedenvoy_statecharts.render.dot import dot
from fedenvoy_statecharts.render.markdown import markdown
from fedenvoy_statecharts.render.mermaid import mermaid, mermaid_overview
from fedenvoy_statecharts.render.plantuml import plantuml
from fedenvoy_statecharts.render.scxml import scxml
from fedenvoy_statecharts.render.svg import svg

__all__ = ["FORMATS", "SUFFIXES", "render"]

_DRAWERS: dict[str, Callable[[Chart], str]] = {
    "mermaid": mermaid,
    "mermaid-overview": mermaid_overview,
    "dot": dot,
    "svg": svg,
    "md": markdown,
    "json": as_json,
    "scxml": scxml,
    "plantuml": plantuml,
}

FORMATS: tuple[str, ...] = tuple(_DRAWERS)
"""What `render` can write."""

SUFFIXES: dict[str, str] = {
    "mermaid": ".mmd",
    "mermaid-overview": "-overview.mmd",
    "dot": ".dot",
    "svg": ".svg",
    "md": ".md",
    "json": ".json",
    "scxml": ".scxml",
    "plantuml": ".puml",
}
"""How the committed files end, by format."""


def render(chart: Chart, format: str) -> str:  # noqa: A002 - the word that users type
    """Write a chart in one of the FORMATS.

    Raises:
        ValueError: When the format is unknown; the message names those that are known.
        ChartError: For `svg`, when the shipped picture is one of another chart.

    """
    try:
        drawer = _DRAWERS[format]
    except KeyError:
        raise ValueError(f"unknown format {format!r}: choose one of {', '.join(FORMATS)}") from None
    return drawer(chart)
