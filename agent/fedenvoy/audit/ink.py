"""Text and lines as SVG, safe whatever they say, with widths that are near enough to break lines by."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from xml.sax.saxutils import escape as escaped

from fedenvoy.logs import escape

__all__ = ["BLACK", "FONT", "GREY", "PALE", "RED", "TAKEN", "fitted", "line", "text", "width", "wrapped"]

FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
BLACK, GREY, PALE, TAKEN, RED = "#1b2733", "#57606a", "#c9d0d9", "#0b5fb0", "#b42318"
_NARROW = frozenset("iljtfrI.,:;'!|()[] /-")
_BROAD = frozenset("mwMW@%")


def width(words: str, size: float) -> float:
    """Estimate how wide a text is, rather too wide than too narrow."""
    return size * sum(map(_share, words))


def _share(letter: str) -> float:
    if letter in _NARROW:
        return 0.34
    if letter in _BROAD or unicodedata.east_asian_width(letter) in {"W", "F"}:
        return 1.0
    return 0.72 if letter.isupper() else 0.58


def wrapped(words: str, size: float, room: float, most: int) -> list[str]:
    """Break a text into lines; what is more than `most` of them ends in an ellipsis."""
    lines = list(_broken(escape(words), size, room))
    if len(lines) > most:
        lines = lines[:most]
        lines[-1] = fitted(f"{lines[-1]} \N{HORIZONTAL ELLIPSIS}", size, room)
    return lines


def _broken(words: str, size: float, room: float) -> Iterator[str]:
    held = ""
    for word in words.split():
        rest = word
        if held and width(f"{held} {rest}", size) <= room:
            held = f"{held} {rest}"
            continue
        if held:
            yield held
        while width(rest, size) > room:
            fits = max(1, next(n for n in range(1, len(rest) + 1) if width(rest[: n + 1], size) > room))
            yield rest[:fits]
            rest = rest[fits:]
        held = rest
    if held:
        yield held


def fitted(words: str, size: float, room: float) -> str:
    """Cut a text to what fits into a line."""
    words = escape(words)
    if width(words, size) <= room:
        return words
    while words and width(f"{words}\N{HORIZONTAL ELLIPSIS}", size) > room:
        words = words[:-1]
    return f"{words.rstrip()}\N{HORIZONTAL ELLIPSIS}"


def text(
    x: float, y: float, words: str, size: float = 11, *, colour: str = BLACK, bold: bool = False, more: str = ""
) -> str:
    """Give a line of text that begins at a place, or lies as `more` says."""
    look = f'font-size="{size:g}" fill="{colour}"' + (' font-weight="bold"' if bold else "") + more
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escaped(escape(words))}</text>'


def line(points: list[tuple[float, float]], colour: str, thick: float, *, arrow: str = "", rest: str = "") -> str:
    """Give a line through points."""
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    end = f' marker-end="url(#{arrow})"' if arrow else ""
    return f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{thick:g}"{end}{rest}/>'
