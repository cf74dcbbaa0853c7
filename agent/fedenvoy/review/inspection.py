"""What an experiment's workspace holds, found by reading alone: nothing of it is imported, unpickled or run.

It is for people who decide, and for the policy. What it cannot see is told in docs/review.md: code that a pickle
carries is shown by its names and texts, and what that code does with them is not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

import attrs
from attrs import frozen

from fedenvoy.review import sources
from fedenvoy.review.budget import Budget
from fedenvoy.review.pickles import SUFFIXES, PickleFound, look
from fedenvoy.review.rendering import inspection_lines
from fedenvoy.review.trees import Directory, Tree

__all__ = ["FileFound", "Inspection", "inspect"]

STEPS = 3_000_000
"""Opcodes of pickles that are followed in one inspection."""
PICKLES = 15.0
"""Seconds of work for all pickles."""
FILES = 20_000
"""Files that are looked at."""
_COUNTED = 32 * 2**20
_PARSED = 2 * 2**20
_CHUNK = 2**18


@frozen
class FileFound:
    """One file."""

    path: str
    """With `/` between its parts."""
    size: int
    """Bytes."""
    kind: str
    """`python`, `text`, `pickle` (or a container of pickles) or `binary`."""
    lines: int = 0
    """Lines of a text."""
    problem: str = ""
    """Why it is not what its name says, or was not read."""
    flags: tuple[str, ...] = ()
    """What to look at twice in a Python file: modules that it imports, builtins that it names."""


@frozen
class Inspection:
    """What was found."""

    files: tuple[FileFound, ...] = ()
    pickles: tuple[PickleFound, ...] = ()
    problems: tuple[str, ...] = ()
    """What was not looked at; empty when everything was."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return attrs.asdict(self)

    def text(self) -> str:
        """Give it for people: every line is safe to print."""
        return "\n".join(inspection_lines(self))


def inspect(workspace: Path, plan: Mapping[str, Any] | None = None, *, seconds: float = 60.0) -> Inspection:
    """Look at all files of a workspace.

    Args:
        workspace: The unpacked archive.
        plan: The content of its plan; files that it names as pickles are looked at as such.
        seconds: Time after which files are not read any more, and said to be so.

    Raises:
        OSError: The workspace cannot be read.

    """
    end = time.monotonic() + seconds
    found = Directory(workspace)
    sizes = found.sizes()
    names = list(sizes)[:FILES]
    problems = [f"{len(sizes) - FILES} of {len(sizes)} files were not looked at"] if len(sizes) > FILES else []
    budget = Budget(STEPS, PICKLES)
    pickles = find_pickles(found, {name: sizes[name] for name in names}, plan, budget)
    if budget.spent:  # from then on nothing more was found, whatever there is
        problems.append(f"pickles were not looked for in all files: {budget.spent}")
    holders = {one.place for one in pickles} | {one.place.partition(": ")[0] for one in pickles}
    files: list[FileFound] = []
    for name in names:
        if time.monotonic() > end:
            problems.append(f"the time was over: {len(names) - len(files)} files were not read")
            break
        files.append(_file(found, name, sizes[name], pickle=name in holders))
    return Inspection(_parsed(workspace, files, end - time.monotonic()), pickles, tuple(problems))


def find_pickles(
    where: Tree, sizes: Mapping[str, int], plan: Mapping[str, Any] | None, budget: Budget
) -> tuple[PickleFound, ...]:
    """Find the pickles among files."""
    named = _named_by(plan)
    found: list[PickleFound] = []
    for name, size in sizes.items():
        says = name in named or PurePosixPath(name).suffix.lower() in SUFFIXES
        try:
            with where.open(name) as raw:
                found += look(raw, size, name, budget, named=says)
        except OSError as error:
            found.append(PickleFound(name, problem=f"cannot be read: {error.strerror}"))
    return tuple(found)


def _named_by(plan: Mapping[str, Any] | None) -> set[str]:
    """Give the files that an OpenFL plan names to be unpickled."""
    layer = (plan or {}).get("api_layer")
    settings = layer.get("settings") if isinstance(layer, Mapping) else None
    values = settings.values() if isinstance(settings, Mapping) else ()
    return {PurePosixPath(value).as_posix() for value in values if isinstance(value, str)}


def _file(where: Directory, name: str, size: int, *, pickle: bool) -> FileFound:
    if pickle:
        return FileFound(name, size, "pickle")
    try:
        with where.open(name) as raw:
            lines = _text_lines(raw, size)
    except OSError as error:
        return FileFound(name, size, "binary", problem=f"cannot be read: {error.strerror}")
    python = PurePosixPath(name).suffix in {".py", ".pyi", ".pyw"}
    if lines is None:
        return FileFound(name, size, "binary", problem="is no text, in spite of its name" if python else "")
    return FileFound(name, size, "python" if python else "text", lines)


def _text_lines(raw: IO[bytes], size: int) -> int | None:
    """Count the lines of a text; None where it is none, or larger than what is read."""
    if size > _COUNTED:
        return None
    count, last = 0, b"\n"
    while chunk := raw.read(_CHUNK):
        if b"\0" in chunk:
            return None
        count += chunk.count(b"\n")
        last = chunk[-1:]
    return count + (last != b"\n")


def _parsed(workspace: Path, files: list[FileFound], seconds: float) -> tuple[FileFound, ...]:
    """Add what the Python files say of themselves."""
    wanted = [one for one in files if one.kind == "python" and one.size <= _PARSED]
    found = sources.parse([workspace / one.path for one in wanted], max(1.0, seconds)) if wanted else []
    said = {one.path: source for one, source in zip(wanted, found, strict=True)}
    result = []
    for one in files:
        source = said.get(one.path)
        if source is not None:
            result.append(attrs.evolve(one, problem=source.problem, flags=source.flags))
        elif one.kind == "python":
            result.append(attrs.evolve(one, problem="not parsed: larger than what is looked at"))
        else:
            result.append(one)
    return tuple(result)
