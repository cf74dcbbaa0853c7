"""A sheet of A4 with a head, a chart with marks and notes, and a table below it; SVG that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedenvoy_statecharts import LIFECYCLE, Chart

from fedenvoy.audit.drawing import LINE, MARKERS, NOTE, drawn
from fedenvoy.audit.ink import BLACK, FONT, GREY, PALE, fitted, line, text, wrapped
from fedenvoy.audit.layout import LEFT, Pair, lay_out

__all__ = ["Column", "Sheet", "svg"]

_ACROSS, _DOWN = 794, 1123
_RIGHT, _BOTTOM = _ACROSS - LEFT, _DOWN - 44
_ROW = 15
_SIZE = 10.5
_NOTES = 6
_MOST = 3
"""Lines of a cell."""
_FACT = 92
"""Room for the name of a fact."""
_WIDEST_ROOM = 362
"""Room for notes, beside the widest chart that is drawn."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: its name, and its share of the sheet's width."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands on the sheet.

    Attributes:
        title: What it is about.
        facts: Names and values, below the title.
        marks: The arrows that were taken, each with what stands on it.
        notes: What stands beside a state; the first of each is strong.
        columns: Of the table.
        rows: Of the table; those for which there is no room are counted.
        foot: How to read it.

    """

    title: str
    facts: Sequence[tuple[str, str]]
    marks: Mapping[Pair, str]
    notes: Mapping[str, Sequence[str]]
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    foot: str


def svg(sheet: Sheet, chart: Chart = LIFECYCLE) -> str:
    """Draw the sheet, 210 by 297 mm."""
    notes = {state: _lines(words) for state, words in sheet.notes.items()}
    head = list(_head(sheet))
    top = 64.0 + _ROW * len(_facts(sheet))
    heights = {state: float(LINE * len(words)) for state, words in notes.items()}
    layout = lay_out(chart, heights, top + 10, frozenset(sheet.marks))
    body = drawn(chart, layout, sheet.marks, notes)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="210mm" height="297mm" viewBox="0 0 {_ACROSS} {_DOWN}"',
        f' role="img" font-family="{FONT}">',
        f"<defs>{MARKERS}</defs>",
        f'<rect width="{_ACROSS}" height="{_DOWN}" fill="#ffffff"/>',
        *head,
        *body,
        *_table(sheet, layout.bottom + 14),
        text(LEFT, _DOWN - 24, fitted(sheet.foot, 9, _RIGHT - LEFT), 9, colour=GREY),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _lines(notes: Sequence[str]) -> list[str]:
    lines = [line for words in notes for line in wrapped(words, NOTE, _WIDEST_ROOM, 3)]
    return lines if len(lines) <= _NOTES else [*lines[: _NOTES - 1], "\N{HORIZONTAL ELLIPSIS}"]


def _facts(sheet: Sheet) -> list[tuple[str, str]]:
    """Give the facts, line by line."""
    return [
        (name if not number else "", words)
        for name, value in sheet.facts
        for number, words in enumerate(wrapped(value, _SIZE, _RIGHT - LEFT - _FACT, 3))
    ]


def _head(sheet: Sheet) -> Iterator[str]:
    yield text(LEFT, 44, fitted(sheet.title, 17, _RIGHT - LEFT), 17, bold=True)
    for number, (name, words) in enumerate(_facts(sheet)):
        y = 66 + _ROW * number
        yield text(LEFT, y, name, _SIZE, colour=GREY)
        yield text(LEFT + _FACT, y, words, _SIZE)


def _table(sheet: Sheet, top: float) -> Iterator[str]:
    fits = int((_BOTTOM - top) / _ROW) - 1
    if fits < 2 or not sheet.rows:
        return
    yield line([(LEFT, top - 11), (_RIGHT, top - 11)], PALE, 1)
    yield from _cells(sheet, [[column.name] for column in sheet.columns], top, colour=GREY)
    shown = sheet.rows if len(sheet.rows) <= fits else sheet.rows[: fits - 1]
    spare, used = fits - len(sheet.rows), 1
    for row in shown:
        cells = _broken(sheet, row, _MOST)
        # Rows may take more lines for as long as all rows find room.
        if max(map(len, cells)) - 1 > spare:
            cells = _broken(sheet, row, 1 + max(0, spare))
        height = max(map(len, cells))
        yield from _cells(sheet, cells, top + _ROW * used, colour=BLACK)
        spare, used = spare - (height - 1), used + height
    if len(shown) < len(sheet.rows):
        left = f"and {len(sheet.rows) - len(shown)} more lines, for which there is no room here"
        yield text(LEFT, top + _ROW * used, left, _SIZE, colour=GREY)


def _room(column: Column) -> float:
    return (_RIGHT - LEFT) * column.share


def _broken(sheet: Sheet, row: Sequence[str], most: int) -> list[list[str]]:
    """Give the lines of each cell."""
    return [wrapped(cell, _SIZE, _room(column) - 8, most) for column, cell in zip(sheet.columns, row, strict=True)]


def _cells(sheet: Sheet, cells: list[list[str]], y: float, *, colour: str) -> Iterator[str]:
    x = float(LEFT)
    for column, lines in zip(sheet.columns, cells, strict=True):
        for number, words in enumerate(lines):
            yield text(x, y + _ROW * number, words, _SIZE, colour=colour)
        x += _room(column)
