"""Finds the engine that a plan asks for: ours, and those that other packages offer as entry points."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from fedenvoy.ports import Engine

__all__ = ["GROUP", "choose", "known"]

logger = logging.getLogger(__name__)

GROUP = "fedenvoy.engines"
"""The entry-point group; each entry names a class that is constructed without arguments."""

# Also there when the package was not installed but only put on the path.
_OWN = {
    "callable": "fedenvoy.engines.callable:CallableEngine",
    "openfl": "fedenvoy.engines.openfl:OpenflEngine",
}


def known() -> tuple[str, ...]:
    """Give the names of all engines, in the order in which they are asked."""
    return tuple(_entries())


def choose(plan: Mapping[str, Any]) -> Engine:
    """Give the engine that the plan names under `engine`, or else the one that claims the plan.

    Raises:
        ValueError: In one sentence: there is none, or the one named is unknown or broken.

    """
    entries = _entries()
    wanted = plan.get("engine")
    if wanted is None:
        for engine in _loaded(entries):
            if engine.claims(plan):
                return engine
        raise ValueError(f"no engine takes this plan; name one in its `engine` line: {', '.join(entries)}")
    if not isinstance(wanted, str) or wanted not in entries:
        raise ValueError(f"the plan asks for the engine {wanted!r}; this node has: {', '.join(entries)}")
    try:
        return _load(entries[wanted])
    except Exception as error:
        raise ValueError(f"the engine {wanted!r} cannot be loaded: {type(error).__name__}: {error}") from error


def _entries() -> dict[str, EntryPoint]:
    """Give the entry points by name: ours first, and ours where another package uses the same name."""
    entries = {name: EntryPoint(name, value, GROUP) for name, value in _OWN.items()}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        entries.setdefault(entry.name, entry)
    return entries


def _loaded(entries: Mapping[str, EntryPoint]) -> Iterator[Engine]:
    """Load one after the other; a broken engine must not keep the others from work."""
    for name, entry in entries.items():
        try:
            engine = _load(entry)
        except Exception:  # noqa: PERF203 - a few, once per experiment
            logger.exception("the engine %r cannot be loaded and is left out", name)
        else:
            yield engine


def _load(entry: EntryPoint) -> Engine:
    module, _, name = entry.value.partition(":")
    return cast("Engine", getattr(importlib.import_module(module), name)())
