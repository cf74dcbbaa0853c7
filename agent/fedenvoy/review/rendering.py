"""Writes what was found for people: short lines, every one of them escaped, so that no name can pass for another."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fedenvoy.logs import bounded, escape

if TYPE_CHECKING:
    from fedenvoy.review.inspection import FileFound, Inspection
    from fedenvoy.review.pickles import PickleFound

__all__ = ["inspection_lines", "one_line", "pickle_lines", "size_words"]

_WIDTH = 110
_NAME = 200
_TEXTS = 60
_FILES = 200


def one_line(text: str, limit: int = _NAME) -> str:
    """Give a text so that it is one printable line of at most so many characters."""
    return bounded(escape(text), limit)


def size_words(size: int) -> str:
    """Give bytes as people read them."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def inspection_lines(found: Inspection) -> Iterator[str]:
    """Write all that was found."""
    yield f"Pickles: {len(found.pickles) or 'none'}"
    for pickle in found.pickles:
        first, *rest = pickle_lines(pickle)
        yield f"  {first}"
        yield from (f"    {line}" for line in rest)
    yield f"Files: {len(found.files)}, {size_words(sum(one.size for one in found.files))}"
    listed = sorted(found.files, key=lambda one: (not one.flags and not one.problem, one.path))
    yield from (f"  {_file_line(one)}" for one in listed[:_FILES])
    if len(listed) > _FILES:
        yield f"  and {len(listed) - _FILES} more"
    yield from (f"Not complete: {one_line(problem)}" for problem in found.problems)


def pickle_lines(found: PickleFound) -> Iterator[str]:
    """Write one pickle: what it imports and calls, what code it carries."""
    yield f"{one_line(found.place)} (protocol {found.protocol}, {size_words(found.size)})"
    if found.problem:
        yield f"NOT READ WHOLLY  {one_line(found.problem)}"
    if found.flags:
        yield from _wrapped("LOOK TWICE AT", found.flags)
    if found.imports:
        yield from _wrapped("imports", found.imports)
    if found.calls:
        yield from _wrapped("calls", (name if count == 1 else f"{name} ({count}x)" for name, count in found.calls))
    for code in found.code:
        yield f"carries code: {one_line(code.name)}"
        if code.names:
            yield from (f"  {line}" for line in _wrapped("names", code.names))
        if code.constants:
            texts = [f'"{one_line(text, 80)}"' for text in code.constants]
            yield from (f"  {line}" for line in _wrapped("texts", texts))
    if found.code_flags:
        yield from _wrapped("LOOK TWICE AT, IN ITS CODE", found.code_flags)


def _wrapped(title: str, words: Iterable[str]) -> Iterator[str]:
    shown = [one_line(word) for word in words]
    more = [f"and {len(shown) - _TEXTS} more"] if len(shown) > _TEXTS else []
    text = ", ".join([*shown[:_TEXTS], *more])
    yield from textwrap.wrap(
        f"{title}: {text}", _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _file_line(one: FileFound) -> str:
    lines = f", {one.lines} lines" if one.kind in {"python", "text"} else ""
    flags = f"; LOOK TWICE AT: {', '.join(one.flags)}" if one.flags else ""
    problem = f"; {one_line(one.problem)}" if one.problem else ""
    return f"{one_line(one.path)}: {one.kind}, {size_words(one.size)}{lines}{flags}{problem}"
