"""What the conditions of a policy look at, and the words in which they say why they are not fulfilled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from fedenvoy.review.case import PastRun, ReviewCase
from fedenvoy.review.inspection import Inspection, inspect
from fedenvoy.review.rendering import one_line

__all__ = ["Condition", "Facts", "below", "listed", "same", "shown"]


class Facts:
    """What conditions look at; the archive's content is inspected when the first of them asks for it.

    Args:
        case: The experiment.
        history: What was let run before; None: it is not known.
        inspection: What the workspace holds, where somebody looked already.

    """

    def __init__(
        self, case: ReviewCase, history: Sequence[PastRun] | None, inspection: Inspection | None = None
    ) -> None:
        self.case = case
        self.history = history
        self._given = inspection

    @cached_property
    def inspection(self) -> Inspection:
        """What the workspace holds."""
        return self._given if self._given is not None else inspect(self.case.workspace, self.case.plan)


class Condition(Protocol):
    """One condition of a rule."""

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""


def below(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the others, or lies below one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def same(value: object, wanted: object) -> bool:
    """Whether two values are the same, and not merely equal, as 1 and true are."""
    numbers = (int, float)
    kinds = type(value) is type(wanted) or (
        isinstance(value, numbers) and isinstance(wanted, numbers) and bool not in {type(value), type(wanted)}
    )
    return kinds and value == wanted


def shown(value: object) -> str:
    """Give a value of an experiment for a sentence: short, and safe to print."""
    if isinstance(value, str):
        return f"'{one_line(value, 100)}'"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else "a very large number"
    return one_line(str(value), 60) if isinstance(value, float) or value is None else f"a {type(value).__name__}"


def listed(values: Sequence[object]) -> str:
    """Give the first of some values for a sentence."""
    first = [shown(value) for value in values[:5]]
    return ", ".join([*first, *(["..."] if len(values) > 5 else [])])
