"""A sheet as Mermaid text, which GitHub, GitLab and wikis draw themselves: states, arrows, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from textwrap import wrap

from fedenvoy_statecharts import LIFECYCLE, Chart

from fedenvoy.audit.layout import Pair
from fedenvoy.audit.sheet import Sheet
from fedenvoy.logs import bounded, escape

__all__ = ["mermaid"]

_LONGEST = 300
_WIDTH = 44
_ESCAPES = {mark: f"#{ord(mark)};" for mark in '#;:"<>&`|{}[]()\\*_~'}


def _words(text: str, limit: int = _LONGEST) -> str:
    """Keep Mermaid from reading what somebody wrote as its own, and break it into lines."""
    return "<br>".join(map(_plain, wrap(bounded(escape(text), limit), _WIDTH, break_on_hyphens=False)))


def _plain(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def mermaid(sheet: Sheet, chart: Chart = LIFECYCLE) -> str:
    """Write the sheet's chart; what was taken is thick, the rest of the chart is dotted."""
    own = dict.fromkeys((str(row.source), str(row.goal)) for row in chart.rows if row.source != row.goal)
    rest = [pair for pair in own if pair not in sheet.marks]
    body = [
        *_comments(sheet),
        *(line for state in chart.states for line in _state(sheet, str(state), final=state in chart.final)),
        *(f'{source} == "{_plain(mark)}" ==> {target}' for (source, target), mark in _known(sheet, chart)),
        *(f"{source} -.-> {target}" for source, target in rest),
        *_styles(len(_known(sheet, chart)), len(rest)),
    ]
    title = json.dumps(bounded(escape(sheet.title), 120), ensure_ascii=False)
    return f"---\ntitle: {title}\n---\nflowchart TD\n" + "".join(f"  {line}\n" for line in body)


def _known(sheet: Sheet, chart: Chart) -> list[tuple[Pair, str]]:
    states = set(map(str, chart.states))
    return [(pair, mark) for pair, mark in sheet.marks.items() if set(pair) <= states]


def _comments(sheet: Sheet) -> Iterator[str]:
    for name, value in sheet.facts:
        yield f"%% {name}: {bounded(escape(value), 1000)}".replace("{", "(").replace("}", ")")
    yield f"%% {sheet.foot}"


def _state(sheet: Sheet, state: str, *, final: bool) -> Iterator[str]:
    lines = "<br>".join(_words(note) for note in sheet.notes.get(state, ()))
    label = f"<b>{state}</b>" + (f"<br>{lines}" if lines else "")
    yield f'{state}(["{label}"])' if final else f'{state}["{label}"]'


def _styles(taken: int, rest: int) -> Iterator[str]:
    if taken:
        yield f"linkStyle {','.join(map(str, range(taken)))} stroke:#0b5fb0,stroke-width:3px"
    if rest:
        yield f"linkStyle {','.join(map(str, range(taken, taken + rest)))} stroke:#c9d0d9"
