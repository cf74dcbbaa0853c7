"""What changed between two experiments, file by file and line by line: the one approved last, and the one that waits.

Pickles are compared by what loading them would do, in the words of `rendering`.
"""

from __future__ import annotations

import difflib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from fedenvoy.review.budget import Budget
from fedenvoy.review.pickles import look
from fedenvoy.review.rendering import one_line, pickle_lines, size_words
from fedenvoy.review.trees import Tree, tree

__all__ = ["Change", "Comparison", "compare"]

_READ = 2**20
_PAIRS = 1_000_000
_LINES = 20_000
_STEPS = 1_000_000
_WIDTH = 500


@frozen
class Change:
    """One file that is not the same."""

    path: str
    kind: str
    """`added`, `removed` or `changed`."""
    note: str = ""
    """What is to be said of it in place of lines, or besides."""
    lines: tuple[str, ...] = ()
    """A unified diff; every line is safe to print."""


@frozen
class Comparison:
    """All that changed."""

    changes: tuple[Change, ...] = ()
    same: int = 0
    """Files that are the same."""
    problem: str = ""
    """What was not compared."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return attrs.asdict(self)

    def text(self) -> str:
        """Give it for people."""
        lines = [f"Changed: {len(self.changes) or 'nothing'}; {self.same} files are the same"]
        for change in self.changes:
            lines.append(f"{change.kind}: {one_line(change.path)}{f' ({change.note})' if change.note else ''}")
            lines += change.lines
        return "\n".join([*lines, *([f"Not complete: {self.problem}"] if self.problem else ())])


def compare(old: Path, new: Path, *, seconds: float = 20.0) -> Comparison:
    """Compare two experiments.

    Args:
        old: A workspace, or an archive that was accepted before.
        new: The same.
        seconds: Time after which lines are no longer compared, and the rest is only named.

    Raises:
        OSError: One cannot be read.
        zipfile.BadZipFile: One is a file, but no archive.

    """
    before, after = tree(old), tree(new)
    old_sizes, new_sizes = before.sizes(), after.sizes()
    end = time.monotonic() + seconds
    changes: list[Change] = []
    shown = same = 0
    budget = Budget(_STEPS, seconds)
    for name in sorted({*old_sizes, *new_sizes}):
        if name in old_sizes and name in new_sizes and _equal(before, after, name, old_sizes[name], new_sizes[name]):
            same += 1
            continue
        change = _change(name, old_sizes.get(name), new_sizes.get(name))
        if shown < _LINES and time.monotonic() < end:
            change = _with_lines(change, before, after, budget, _LINES - shown)
            shown += len(change.lines)
        else:
            change = attrs.evolve(
                change, note=f"{change.note}; its lines are not shown: there are too many".lstrip("; ")
            )
        changes.append(change)
    return Comparison(tuple(changes), same, "" if shown < _LINES else f"only the first {_LINES} lines are shown")


def _equal(before: Tree, after: Tree, name: str, old_size: int, new_size: int) -> bool:
    if old_size != new_size:
        return False
    with before.open(name) as one, after.open(name) as other:
        while True:
            left, right = one.read(_READ), other.read(_READ)
            if left != right:
                return False
            if not left:
                return True


def _change(name: str, old: int | None, new: int | None) -> Change:
    if old is None:
        return Change(name, "added", size_words(new or 0))
    if new is None:
        return Change(name, "removed", size_words(old))
    return Change(name, "changed", f"{size_words(old)}, now {size_words(new)}")


def _with_lines(change: Change, before: Tree, after: Tree, budget: Budget, room: int) -> Change:
    old = _lines(before, change.path, budget) if change.kind != "added" else []
    new = _lines(after, change.path, budget) if change.kind != "removed" else []
    if old is None or new is None:
        return attrs.evolve(change, note=f"{change.note}; binary, or too large to be shown")
    lines = [one_line(line, _WIDTH) for line in _unified(old, new)]
    if len(lines) > room:
        lines = [*lines[:room], f"(and {len(lines) - room} lines more)"]
    return attrs.evolve(change, lines=tuple(lines))


def _lines(where: Tree, name: str, budget: Budget) -> list[str] | None:
    """Give the lines of a text, or those that tell of a pickle; None for other files."""
    with where.open(name) as raw:
        data = raw.read(_READ + 1)
    pickles = look(io.BytesIO(data), len(data), name, budget, named=False)
    if pickles:
        return [line for one in pickles for line in pickle_lines(one)]
    if len(data) > _READ or b"\0" in data:
        return None
    return data.decode("utf-8", "backslashreplace").splitlines()


def _unified(old: list[str], new: list[str]) -> Iterator[str]:
    """Give a unified diff; where comparing would take long, as if every line in the midst were another."""
    if len(old) * len(new) <= _PAIRS:
        yield from difflib.unified_diff(old, new, "before", "now", lineterm="")
        return
    start = _common(old, new)
    stop = _common(old[start:][::-1], new[start:][::-1])
    gone, come = old[start : len(old) - stop], new[start : len(new) - stop]
    if len(gone) * len(come) <= _PAIRS:
        place = f"from line {start + 1}"
        yield from difflib.unified_diff(gone, come, f"before, {place}", f"now, {place}", lineterm="")
        return
    yield f"@@ from line {start + 1}: {len(gone)} lines gone, {len(come)} lines come @@"
    yield from (f"-{line}" for line in gone)
    yield from (f"+{line}" for line in come)


def _common(old: list[str], new: list[str]) -> int:
    count = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        count += 1
    return count
