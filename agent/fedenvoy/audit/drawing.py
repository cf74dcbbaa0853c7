"""The chart as SVG: every arrow that it has in pale lines, those that were taken in strong ones, with a mark each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import quoteattr

from fedenvoy_statecharts import Chart

from fedenvoy.audit.ink import BLACK, GREY, PALE, RED, TAKEN, line, text, width
from fedenvoy.audit.layout import HEIGHT, WIDTH, Box, Lane, Layout, Pair

__all__ = ["MARKERS", "drawn"]

MARKERS = "".join(
    f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="{size}" markerHeight="{size}"'
    f' markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 8 4 0 8Z" fill="{colour}"/></marker>'
    for name, colour, size in (("pale", PALE, 7), ("taken", TAKEN, 10), ("wrong", RED, 10))
)
"""The heads of the arrows."""
NOTE = 11
"""Size of the notes, in pixels; 8 points on paper."""
LINE = 14


def drawn(chart: Chart, layout: Layout, marks: Mapping[Pair, str], notes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Give the elements of the drawing.

    Args:
        chart: The chart.
        layout: Where its parts lie.
        marks: The arrows that were taken, each with what stands on it.
        notes: What stands beside each state; the first line of each is strong.

    """
    own = {(str(row.source), str(row.goal)) for row in chart.rows}
    yield from (_arrow(layout, pair, PALE, 1.2, "pale") for pair in layout.pairs if pair not in marks)
    for pair in marks:
        colour, head = (TAKEN, "taken") if pair in own else (RED, "wrong")
        if pair[0] != pair[1] and set(pair) <= set(layout.boxes):
            yield _arrow(layout, pair, colour, 2.6, head)
    entered = {target for _, target in marks} | {source for source, _ in marks}
    for state in chart.states:
        box = layout.boxes[str(state)]
        yield from _box(box, taken=str(state) in entered, final=state in chart.final, doc=state.doc)
        yield from _notes(layout, box, notes.get(str(state), ()))
    for pair, mark in marks.items():
        if set(pair) <= set(layout.boxes):
            yield from _mark(layout, pair, mark, TAKEN if pair in own else RED)


def _arrow(layout: Layout, pair: Pair, colour: str, thick: float, head: str) -> str:
    source, target = (layout.boxes[name] for name in pair)
    if layout.is_straight(pair):
        middle = source.x + WIDTH / 2
        return line([(middle, source.y + HEIGHT), (middle, target.y)], colour, thick, arrow=head)
    lane = layout.lanes[pair]
    edge = source.x + (WIDTH if lane.side > 0 else 0)
    leaves, enters = _ends(source, target, lane)
    points = [(edge, leaves), (lane.x, leaves), (lane.x, enters), (edge, enters)]
    return line(points, colour, thick, arrow=head, rest=' stroke-linejoin="round"')


def _ends(source: Box, target: Box, lane: Lane) -> tuple[float, float]:
    """Give the heights at which an arrow beside the states leaves and enters; each lane has its own for leaving."""
    if lane.side > 0:
        return source.middle + 2 + 5 * lane.order, target.middle - 8
    return source.middle - 2 - 5 * lane.order, target.middle + 8


def _box(box: Box, *, taken: bool, final: bool, doc: str) -> Iterator[str]:
    fill, stroke, thick = ("#e7f0fa", TAKEN, 1.8) if taken else ("#f6f8fa", PALE, 1.0)
    yield f"<g><title>{quoteattr(doc)[1:-1]}</title>"
    yield (
        f'<rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="{thick}"/>'
    )
    if final:
        yield (
            f'<rect x="{box.x + 3}" y="{box.y + 3}" width="{WIDTH - 6}" height="{HEIGHT - 6}" rx="5" fill="none" '
            f'stroke="{stroke}"/>'
        )
    middle = f' text-anchor="middle" font-weight="{"bold" if taken else "normal"}"'
    yield text(box.x + WIDTH / 2, box.middle + 4, box.state, 12, colour=BLACK if taken else GREY, more=middle)
    yield "</g>"


def _notes(layout: Layout, box: Box, notes: Sequence[str]) -> Iterator[str]:
    x = layout.right
    for number, words in enumerate(notes):
        strong = not number
        yield text(x, box.y + 11 + LINE * number, words, NOTE, bold=strong, colour=BLACK if strong else GREY)


def _mark(layout: Layout, pair: Pair, mark: str, colour: str) -> Iterator[str]:
    """Put what is told of an arrow on it, near where it begins."""
    source = layout.boxes[pair[0]]
    if pair[0] == pair[1]:
        x, y = source.x + 14, source.y + HEIGHT
        mark = f"\N{ANTICLOCKWISE OPEN CIRCLE ARROW} {mark}"
    elif layout.is_straight(pair):
        x, y = source.x + WIDTH / 2, (source.y + HEIGHT + layout.boxes[pair[1]].y) / 2 - 3
    else:
        lane = layout.lanes[pair]
        leaves, _ = _ends(source, layout.boxes[pair[1]], lane)
        x, y = lane.x, leaves + 6 * lane.side
    wide = max(16.0, width(mark, 10) + 8)
    yield (
        f'<rect x="{x - wide / 2:.1f}" y="{y - 8:.1f}" width="{wide:.1f}" height="16" rx="8" fill="{colour}" '
        'stroke="#ffffff" stroke-width="1.2"/>'
    )
    yield text(x, y + 3.6, mark, 10, colour="#ffffff", more=' text-anchor="middle" font-weight="bold"')
