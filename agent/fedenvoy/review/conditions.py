"""The conditions that a rule may have, each judged by itself. What is absent, unknown or unreadable never fulfils one.

`unmet` gives the reason why a condition is not fulfilled, as a clause; empty when it is.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Protocol

from attrs import frozen

from fedenvoy.review.case import PastRun, ReviewCase
from fedenvoy.review.inspection import Inspection, inspect
from fedenvoy.review.pickles import PickleFound
from fedenvoy.review.pinned import Allowed, Pinned, pinned
from fedenvoy.review.plans import ABSENT, code_names, value_at
from fedenvoy.review.rendering import one_line, size_words

__all__ = [
    "Bound",
    "Bounds",
    "Condition",
    "Digests",
    "Engines",
    "Experiments",
    "Facts",
    "Pickles",
    "Requirements",
    "Runs",
    "Size",
    "Templates",
    "Values",
]

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
"""How a bound compares the plan's number with its own."""


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


@frozen
class Experiments:
    """The experiment's whole name matches a pattern."""

    patterns: tuple[str, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        if any(fnmatchcase(facts.case.experiment, pattern) for pattern in self.patterns):
            return ""
        return f"its name {_shown(facts.case.experiment)} matches none of {_listed(self.patterns)}"


@frozen
class Engines:
    """The engine is one of these."""

    names: tuple[str, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        engine = facts.case.engine
        return "" if engine in self.names else f"its engine is {_shown(engine)}, not {_listed(self.names)}"


@frozen
class Templates:
    """All code that the plan names lies below one of these dotted names, and it names some."""

    prefixes: tuple[str, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        found = code_names(facts.case.plan)
        for one in found:
            if not isinstance(one.name, str):
                return f"{_shown(one.path)} of its plan does not say which code it brings in"
            if not _below(one.name.replace(":", "."), self.prefixes):
                where = f"which lies below none of {_listed(self.prefixes)}"
                return f"{_shown(one.path)} of its plan is {_shown(one.name)}, {where}"
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
        return f"{self.path} of its plan is {_shown(value)}, not {self.comparison} {self.number:g}"


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
            if not any(_same(value, one) for one in values):
                return f"{path} of its plan is {_shown(value)}, not {_listed(values)}"
        return ""


@frozen
class Requirements:
    """What is installed is known and allowed: the lock, and without one the requirements themselves."""

    only: tuple[Allowed, ...] | None
    """None: anything."""
    hashed: bool
    """Whether the lock must carry the hashes of every distribution."""

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        case = facts.case
        if not case.requirements and not case.lock:
            return ""  # nothing is installed
        if self.hashed and not case.lock:
            return "its requirements are not locked"
        try:
            wanted = pinned(case.lock, options=True) if case.lock else pinned(case.requirements, options=False)
        except ValueError as error:
            return f"its requirements cannot be judged: {one_line(str(error))}"
        if self.hashed and (bare := next((one for one in wanted if not one.hashes), None)):
            return f"{bare.name} is locked without a hash"
        return next((why for one in wanted if self.only is not None and (why := _forbidden(one, self.only))), "")


def _forbidden(one: Pinned, only: tuple[Allowed, ...]) -> str:
    entries = [entry for entry in only if entry.name == one.name]
    if not entries:
        return f"it requires {one.name}, which is not listed"
    for entry in entries:
        if str(entry.versions) and not (one.version and entry.versions.contains(one.version, prereleases=True)):
            continue
        if entry.hashes and not (one.hashes and set(one.hashes) <= set(entry.hashes)):
            continue
        return ""
    return f"it requires {one.name} {one.version or 'in no certain version'}, which is not as listed"


@frozen
class Digests:
    """The archive is one of these."""

    digests: tuple[str, ...]

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        return "" if facts.case.digest in self.digests else f"its archive {facts.case.digest[:16]}... is not listed"


@frozen
class Size:
    """It is not larger than this; None: any size."""

    archive: int | None
    unpacked: int | None
    files: int | None

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        if self.archive is not None and facts.case.size > self.archive:
            return f"its archive has {size_words(facts.case.size)}, more than {size_words(self.archive)}"
        if self.unpacked is None and self.files is None:
            return ""
        sizes = [one.size for one in facts.inspection.files]
        if facts.inspection.problems:
            return facts.inspection.problems[0]
        if self.unpacked is not None and sum(sizes) > self.unpacked:
            return f"its files have {size_words(sum(sizes))}, more than {size_words(self.unpacked)}"
        if self.files is not None and len(sizes) > self.files:
            return f"it has {len(sizes)} files, more than {self.files}"
        return ""


@frozen
class Pickles:
    """What its pickles do when they are loaded, and what the code in them names, is allowed; and all of it was seen."""

    none: bool
    """Whether there must be no pickle at all."""
    imports: tuple[str, ...] | None
    """Dotted names; everything imported lies below one. None: anything."""
    flagged: frozenset[str] | None
    """Flags that are allowed. None: all."""
    code: frozenset[str] | None
    """Flags that are allowed in the code that pickles carry. None: all."""

    def unmet(self, facts: Facts) -> str:
        """Say why it is not fulfilled; empty when it is."""
        if facts.inspection.problems:
            return f"not all of its files were looked at ({facts.inspection.problems[0]})"
        return next((why for one in facts.inspection.pickles if (why := self._against(one))), "")

    def _against(self, one: PickleFound) -> str:
        place = one_line(one.place)
        if self.none:
            return f"{place} is a pickle"
        if one.problem:
            return f"{place}: {one_line(one.problem)}"
        if self.flagged is not None and (bad := set(one.flags) - self.flagged):
            return f"{place} imports or calls {', '.join(sorted(bad))} when it is loaded"
        strange = [name for name in one.imports if self.imports is not None and not _below(name, self.imports)]
        if strange:
            return f"{place} imports {one_line(strange[0])}, which is not listed"
        if self.code is not None and (bad := set(one.code_flags) - self.code):
            return f"{place} carries code that names {', '.join(sorted(bad))}"
        return ""


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
        whose = f"of {_shown(who)}" if who else "of this director"
        return f"{count} runs {whose} within {self.period / 3600:g} h are as many as may be ({self.most})"

    def _submitter(self, experiment: str) -> str:
        if self.per == "director":
            return ""
        return experiment if self.per == "name" else experiment.partition(self.separator)[0]


def _below(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _same(value: object, wanted: object) -> bool:
    """Whether two values are the same, and not merely equal, as 1 and true are."""
    numbers = (int, float)
    kinds = type(value) is type(wanted) or (
        isinstance(value, numbers) and isinstance(wanted, numbers) and bool not in {type(value), type(wanted)}
    )
    return kinds and value == wanted


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f"'{one_line(value, 100)}'"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else "a very large number"
    return one_line(str(value), 60) if isinstance(value, float) or value is None else f"a {type(value).__name__}"


def _listed(values: Sequence[object]) -> str:
    shown = [_shown(value) for value in values[:5]]
    return ", ".join([*shown, *(["..."] if len(values) > 5 else [])])
