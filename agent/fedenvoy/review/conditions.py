"""The conditions of a policy on names, plan and past, each judged by itself; those on contents are in `contents`.

`unmet` gives the reason why a condition is not fulfilled, as a clause; empty when it is. What is absent, unknown or of
another type fulfils none.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from attrs import frozen

from fedenvoy.review.facts import Facts, below, listed, same, shown
from fedenvoy.review.plans import ABSENT, code_names, value_at

__all__ = ["COMPARISONS", "Bound", "Bounds", "Digests", "Engines", "Experiments", "Runs", "Templates", "Values"]

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
"""How a bound compares the plan's number with its own."""


@frozen
class Experiments:
    """The experiment's whole name matches a pattern."""

    patterns: tuple[str, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        if any(fnmatchcase(facts.case.experiment, pattern) for pattern in self.patterns):
            return ""
        return f"its name {shown(facts.case.experiment)} matches none of {listed(self.patterns)}"


@frozen
class Engines:
    """The engine is one of these."""

    names: tuple[str, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        engine = facts.case.engine
        return "" if engine in self.names else f"its engine is {shown(engine)}, not {listed(self.names)}"


@frozen
class Templates:
    """All code that the plan names lies below one of these dotted names, and it names some."""

    prefixes: tuple[str, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        found = code_names(facts.case.plan)
        for one in found:
            if not isinstance(one.name, str):
                return f"{shown(one.path)} of its plan does not say which code it brings in"
            if not below(one.name.replace(":", "."), self.prefixes):
                where = f"which lies below none of {listed(self.prefixes)}"
                return f"{shown(one.path)} of its plan is {shown(one.name)}, {where}"
        return "" if found else "its plan names no template"


@frozen
class Bound:
    """A number of the plan compared with another."""

    path: str
    comparison: str
    number: float

    def unmet(self, plan: Mapping[str, Any]) -> str:
        """Say why it is not fulfilled; empty when it is."""
        value = value_at(plan, self.path)
        if value is ABSENT:
            return f"its plan has no {self.path}"
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{self.path} of its plan is no number"
        if COMPARISONS[self.comparison](value, self.number):
            return ""
        return f"{self.path} of its plan is {shown(value)}, not {self.comparison} {self.number:g}"


@frozen
class Bounds:
    """All these bounds hold."""

    bounds: tuple[Bound, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        return next((why for bound in self.bounds if (why := bound.unmet(facts.case.plan))), "")


@frozen
class Values:
    """The plan has one of the given values at each of these paths."""

    allowed: tuple[tuple[str, tuple[Any, ...]], ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        for path, values in self.allowed:
            value = value_at(facts.case.plan, path)
            if value is ABSENT:
                return f"its plan has no {path}"
            if not any(same(value, one) for one in values):
                return f"{path} of its plan is {shown(value)}, not {listed(values)}"
        return ""


@frozen
class Digests:
    """The archive is one of these."""

    digests: tuple[str, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        return "" if facts.case.digest in self.digests else f"its archive {facts.case.digest[:16]}... is not listed"


@frozen
class Runs:
    """So many runs of the same submitter, as far as one can be told, are not yet used up."""

    most: int
    period: float
    """Seconds before the archive was received."""
    per: str
    """`director`: all runs of this node; `name`: those of the same name; `prefix`: of the same beginning."""
    separator: str
    """What ends the beginning of a name."""

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        if facts.history is None:
            return "the runs of the past are not known"
        start = facts.case.received_at - self.period
        who = self._submitter(facts.case.experiment)
        count = sum(run.at >= start and self._submitter(run.experiment) == who for run in facts.history)
        if count < self.most:
            return ""
        whose = f"of {shown(who)}" if who else "of this director"
        return f"{count} runs {whose} within {self.period / 3600:g} h are as many as may be ({self.most})"

    def _submitter(self, experiment: str) -> str:
        if self.per == "director":
            return ""
        return experiment if self.per == "name" else experiment.partition(self.separator)[0]
