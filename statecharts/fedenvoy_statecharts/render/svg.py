"""The committed picture: laid out once from the DOT text, and shipped, so that nobody needs Graphviz to see it."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fedenvoy_statecharts.model import Chart, ChartError
from fedenvoy_statecharts.render.dot import dot

__all__ = ["drawn_from", "svg"]


def drawn_from(picture: str) -> str:
    """Give the digest of the DOT text that a committed picture was laid out from; empty when it names none."""
    first = picture.partition("\n")[0]
    return first.partition("dot-sha256: ")[2].partition(" ")[0]


def svg(chart: Chart) -> str:
    """Give the shipped picture, if it is one of this chart.

    Raises:
        ChartError: When the picture was laid out from another chart, or is not shipped.

    """
    wanted = hashlib.sha256(dot(chart).encode()).hexdigest()
    try:
        picture = (files("fedenvoy_statecharts.render") / "lifecycle.svg").read_text(encoding="utf-8")
    except OSError:
        picture = ""
    if drawn_from(picture) != wanted:
        raise ChartError(
            f"there is no picture of this very chart ({chart.name!r}) in the package: "
            "use the format dot, and lay it out with Graphviz (dot -Tsvg)"
        )
    return picture
