"""What reading a configuration turns up, gathered so that a user gets all of it at once.

It knows nothing of what the settings mean.
"""

from __future__ import annotations

from difflib import get_close_matches
from reprlib import Repr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Findings", "nearest", "shorten", "show"]

_SHOWN = 60
"""Characters of a value or name that a sentence shows."""


class Findings:
    """The problems and warnings of one file, in the order found."""

    def __init__(self, source: str) -> None:
        self.source = source
        """How the user named the file; every sentence begins with it."""
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def problem(self, setting: str, value: object, expected: str, *, source: str = "") -> None:
        """Note that a setting's value cannot be used, and what was expected; `source` where it is not the file's."""
        self.problems.append(f"{source or self.source}: {setting}: {show(value)}: {expected}")

    def missing(self, setting: str, expected: str) -> None:
        """Note that a setting is not there, and what was expected."""
        self.problems.append(f"{self.source}: {setting}: missing: {expected}")

    def warn(self, sentence: str) -> None:
        """Note something that is read, but surely not as it was meant."""
        self.warnings.append(f"{self.source}: {sentence}")


def nearest(name: object, known: Iterable[str]) -> str:
    """Say which known name was probably meant, as the end of a sentence; empty when none is near."""
    matches = get_close_matches(str(name)[:_SHOWN].casefold(), sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]}?" if matches else ""


def show(value: object) -> str:
    """Give a value as a sentence shows it: as YAML spells it, and cut where it is long, deep or endless."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    return shorten(_Short().repr(value))


def shorten(name: object) -> str:
    """Give a name, cut where it is long."""
    text = str(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class _Short(Repr):
    """Python's own shortening, which does not walk what it leaves out; with room for a path or a UUID."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 4 * _SHOWN
        self.maxlevel = 2
