"""The conditions of a policy on what an experiment brings along: what is installed, its files, its pickles.

As with those of `conditions`: what is absent, unknown or could not be read fulfils none.
"""

from __future__ import annotations

from attrs import frozen

from fedenvoy.review.facts import Facts, below
from fedenvoy.review.pickles import PickleFound
from fedenvoy.review.pinned import Allowed, Pinned, pinned
from fedenvoy.review.rendering import one_line, size_words

__all__ = ["Pickles", "Requirements", "Size"]


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
        strange = [name for name in one.imports if self.imports is not None and not below(name, self.imports)]
        if strange:
            return f"{place} imports {one_line(strange[0])}, which is not listed"
        if self.code is not None and (bad := set(one.code_flags) - self.code):
            return f"{place} carries code that names {', '.join(sorted(bad))}"
        return ""
