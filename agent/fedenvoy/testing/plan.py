"""Strategies for plans, as researchers send them: anything that a YAML file can hold, and bent copies of a good one.

For tests of what reads plans on a site: a review callback, an engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st

__all__ = ["plans", "yaml_values"]

KEYS = ("engine", "callable", "entry", "params", "aggregator", "collaborator", "network", "settings", "template")
"""Words that plans use; drawn more often than chance would."""
MOST_CHANGES = 3

T = TypeVar("T")
_Container = dict[Any, Any] | list[Any]


def _texts() -> st.SearchStrategy[str]:
    # YAML has no surrogates, and reads no control characters.
    return st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)


@cache  # a strategy is costly to build and never changes
def _keys() -> st.SearchStrategy[str]:
    return st.sampled_from(KEYS) | _texts()


@cache
def yaml_values() -> st.SearchStrategy[Any]:
    """Give a strategy of what a YAML file may hold anywhere."""
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts()
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys(), inner, max_size=3),
        max_leaves=8,
    )


def plans(like: Mapping[str, Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Give a strategy of plans.

    Args:
        like: A good plan; then the strategy gives it with up to three changes, each a value replaced, a key removed or
            a key added, at any depth. None: any mapping.

    """
    if like is None:
        return st.dictionaries(_keys(), yaml_values(), max_size=5)
    return _bent(like)


@st.composite
def _bent(draw: st.DrawFn, like: Mapping[str, Any]) -> dict[str, Any]:
    plan = deepcopy(dict(like))
    for _ in range(draw(st.integers(0, MOST_CHANGES))):
        where = _one_of(draw, _containers(plan))
        change = _one_of(draw, (_add, _replace, _remove)) if where else _add
        change(draw, where)
    return plan


def _containers(value: Any) -> list[_Container]:
    """Give every mapping and list in a value, the outermost first."""
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(one for part in inner for one in _containers(part))]


def _place(draw: st.DrawFn, where: _Container) -> Any:
    return _one_of(draw, list(where) if isinstance(where, dict) else range(len(where)))


def _one_of(draw: st.DrawFn, choices: Sequence[T]) -> T:
    return choices[draw(st.integers(0, len(choices) - 1))]


def _replace(draw: st.DrawFn, where: _Container) -> None:
    where[_place(draw, where)] = draw(yaml_values())


def _remove(draw: st.DrawFn, where: _Container) -> None:
    del where[_place(draw, where)]


def _add(draw: st.DrawFn, where: _Container) -> None:
    if isinstance(where, dict):
        where[draw(_keys())] = draw(yaml_values())
    else:
        where.append(draw(yaml_values()))
