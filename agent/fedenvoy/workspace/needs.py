"""What an engine needs, where the node's own packages give it: bounds for all that is installed, and no more."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

from fedenvoy.workspace.requirements import as_constraint, project_name

__all__ = ["bounds"]

_EXTRA = re.compile(r"\bextra\s*==")


def bounds(needs: tuple[str, ...], places: tuple[Path, ...]) -> tuple[str, ...]:
    """Give what installed packages, and those that they need in turn, ask of the versions of others, as constraints.

    An environment that keeps to them has nothing in front of these packages that they cannot work with.

    Args:
        needs: Requirement lines; constraints themselves.
        places: Directories of installed packages; the first one that has a package counts.

    """
    asked = _asked(places)
    lines: dict[str, None] = {}
    seen: set[str] = set()
    waiting = list(needs)
    while waiting:
        line = waiting.pop()
        constraint = as_constraint(line)
        if constraint:
            lines[constraint] = None
        name = project_name(line)
        if name not in seen:
            seen.add(name)
            waiting.extend(asked.get(name, ()))
    return tuple(lines)


def _asked(places: tuple[Path, ...]) -> dict[str, list[str]]:
    """Give the requirement lines of each installed package by its name; those of its extras are left out."""
    found: dict[str, list[str]] = {}
    for place in places:
        for distribution in distributions(path=[str(place)]):
            name = project_name(str(distribution.metadata["Name"] or ""))
            lines = [line for line in distribution.requires or () if not _EXTRA.search(line)]
            found.setdefault(name, lines)
    return found
