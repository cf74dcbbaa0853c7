"""Reads the conditions of a policy's rules: strict, each problem noted with its place and what was expected there.

What the conditions mean is said in `conditions` and `contents`; the format is described in docs/review.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from packaging.requirements import InvalidRequirement

from fedenvoy.configfile import rules as values
from fedenvoy.configfile.findings import Findings, nearest, shorten
from fedenvoy.review import conditions as kinds
from fedenvoy.review import contents
from fedenvoy.review.facts import Condition
from fedenvoy.review.flagged import WORDS
from fedenvoy.review.pinned import Allowed, allowed

__all__ = ["condition_names", "known", "read_conditions"]

Reader = Callable[[object, str, Findings], Any]
"""Reads what stands at a place; notes problems, and gives None where there were any."""

_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_BOUND = re.compile(
    r"\s*(?P<path>[^\s<>=]+)\s*(?P<sign><=|>=|==|<|>)\s*(?P<number>[-+]?[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?)\s*",
    re.ASCII,
)
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.ASCII)
_PERIOD = values.duration(1)


def read_conditions(value: object, where: str, found: Findings) -> tuple[tuple[str, Condition], ...]:
    """Read conditions, each with its name; those in which something is wrong are left out."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        found.problem(where, value, f"expected conditions: {', '.join(_READERS)}")
        return ()
    known(value, tuple(_READERS), where, found)
    read = ((str(key), _READERS[key](part, f"{where}.{key}", found)) for key, part in value.items() if key in _READERS)
    return tuple((key, condition) for key, condition in read if condition is not None)


def known(section: Mapping[Any, Any], names: tuple[str, ...], where: str, found: Findings) -> None:
    """Note every key that is none of `names`."""
    for key, value in section.items():
        if key not in names:
            place = f"{where}.{shorten(key)}" if where else shorten(key)
            meant = nearest(key, names) or f"; known are {', '.join(names)}"
            found.problem(place, value, f"no such key{meant}")


def _each(value: object, where: str, found: Findings, expected: str, read: Callable[[str], Any]) -> list[Any] | None:
    """Read a list of texts one by one; `read` raises ValueError where one is not as expected."""
    if not isinstance(value, list) or not value:
        found.problem(where, value, f"expected a list, each {expected}")
        return None
    before = len(found.problems)
    result = []
    for index, one in enumerate(value):
        try:
            if not isinstance(one, str) or not one.strip():
                raise ValueError
            result.append(read(one))
        except ValueError as error:  # noqa: PERF203 - a few, once
            found.problem(f"{where}[{index}]", one, f"expected {expected}{f' ({error})' if str(error) else ''}")
    return result if len(found.problems) == before else None


def _list_of(expected: str, read: Callable[[str], Any], kind: Callable[[tuple[Any, ...]], Any]) -> Reader:
    def reader(value: object, where: str, found: Findings) -> Any:
        items = _each(value, where, found, expected, read)
        return None if items is None else kind(tuple(items))

    return reader


def _matching(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError
    return match


def _dotted(text: str) -> str:
    return _matching(_NAME, text.removesuffix(".*").removesuffix("."))[0]


def _digest(text: str) -> str:
    return _matching(_DIGEST, text.lower())[1]


def _bound(text: str) -> kinds.Bound:
    match = _matching(_BOUND, text)
    number: float = float(match["number"])
    if not math.isfinite(number):
        raise ValueError
    if number.is_integer() and match["number"].lstrip("+-").isdecimal():
        number = int(match["number"])  # exact, however large
    return kinds.Bound(match["path"], match["sign"], number)


def _word(text: str) -> str:
    if text not in WORDS:
        raise ValueError(nearest(text, WORDS).lstrip("; ") or "see docs/review.md for the words")
    return text


def _values(value: object, where: str, found: Findings) -> kinds.Values | None:
    if not isinstance(value, Mapping) or not value:
        found.problem(where, value, "expected dotted paths of the plan, each with the values that it may have")
        return None
    allowed_values = []
    for path, given in value.items():
        listed = given if isinstance(given, list) else [given]
        if not isinstance(path, str) or not listed or not all(type(one) in {str, int, float, bool} for one in listed):
            found.problem(
                f"{where}.{shorten(path)}", given, "expected a text, a number, true or false, or a list of them"
            )
        else:
            allowed_values.append((path, tuple(listed)))
    return kinds.Values(tuple(allowed_values)) if len(allowed_values) == len(value) else None


def _section(value: object, where: str, found: Findings, names: tuple[str, ...]) -> Mapping[Any, Any] | None:
    if not isinstance(value, Mapping) or not value:
        found.problem(where, value, f"expected a section with {', '.join(names)}")
        return None
    before = len(found.problems)
    known(value, names, where, found)
    return value if len(found.problems) == before else None


def _one(section: Mapping[Any, Any], key: str, where: str, found: Findings, read: values.Rule[Any]) -> Any:
    """Read one value of a section; None where it is not there, or wrong."""
    if section.get(key) is None:
        return None
    try:
        return read(section[key])
    except ValueError as error:
        found.problem(f"{where}.{key}", section[key], str(error))
        return None


def _requirements(value: object, where: str, found: Findings) -> contents.Requirements | None:
    section = _section(value, where, found, ("only", "hashed"))
    if section is None:
        return None
    before = len(found.problems)
    only: list[Allowed] | None = None
    if "only" in section:
        none = section["only"] == "none"
        expected = 'a name with its versions, such as "numpy" or "torch>=2,<3"'
        only = [] if none else _each(section["only"], f"{where}.only", found, expected, _allowed)
    hashed = _one(section, "hashed", where, found, values.boolean)
    if len(found.problems) > before:
        return None
    if only is None and not hashed:
        found.problem(where, dict(section), "expected a list under `only`, or `hashed: true`")
        return None
    return contents.Requirements(None if only is None else tuple(only), bool(hashed))


def _allowed(text: str) -> Allowed:
    try:
        return allowed(text)
    except InvalidRequirement:
        raise ValueError from None


def _size(value: object, where: str, found: Findings) -> contents.Size | None:
    section = _section(value, where, found, ("archive", "unpacked", "files"))
    if section is None:
        return None
    before = len(found.problems)
    archive, unpacked = (_one(section, key, where, found, values.size) for key in ("archive", "unpacked"))
    files = _one(section, "files", where, found, values.count(0))
    return contents.Size(archive, unpacked, files) if len(found.problems) == before else None


def _pickles(value: object, where: str, found: Findings) -> contents.Pickles | None:
    if value == "none":
        return contents.Pickles(none=True, imports=None, flagged=frozenset(), code=None)
    section = _section(value, where, found, ("imports", "flagged", "code"))
    if section is None:
        return None
    before = len(found.problems)
    imports = None
    if "imports" in section:
        imports = _each(section["imports"], f"{where}.imports", found, "a dotted name", _dotted)
    flagged = _flags(section, "flagged", where, found, default=frozenset())
    code = _flags(section, "code", where, found, default=None)
    if len(found.problems) > before:
        return None
    return contents.Pickles(none=False, imports=None if imports is None else tuple(imports), flagged=flagged, code=code)


def _flags(
    section: Mapping[Any, Any], key: str, where: str, found: Findings, default: frozenset[str] | None
) -> frozenset[str] | None:
    """Read which flags are allowed: `none`, `any`, or a list of them."""
    value = section.get(key)
    if value is None:
        return default
    if value in ("none", "any"):
        return frozenset() if value == "none" else None
    words = _each(value, f"{where}.{key}", found, "a word for what may be there; or write none, or any", _word)
    return None if words is None else frozenset(words)


def _runs(value: object, where: str, found: Findings) -> kinds.Runs | None:
    section = _section(value, where, found, ("most", "period", "per", "separator"))
    if section is None:
        return None
    before = len(found.problems)
    for key, expected in (("most", "how many runs there may be"), ("period", "the time they are counted in, as 24h")):
        if section.get(key) is None:
            found.missing(f"{where}.{key}", f"expected {expected}")
    most = _one(section, "most", where, found, values.count(0))
    period = _one(section, "period", where, found, _PERIOD)
    per = _one(section, "per", where, found, values.choice("director", "name", "prefix")) or "director"
    separator = section.get("separator", "-")
    if not isinstance(separator, str) or not separator:
        found.problem(f"{where}.separator", separator, "expected the text that ends a name's first part")
    return kinds.Runs(most, period, per, separator) if len(found.problems) == before else None


_READERS: Mapping[str, Reader] = {
    "experiments": _list_of("a pattern of experiment names, such as brain-*", str, kinds.Experiments),
    "engines": _list_of("an engine's name", str, kinds.Engines),
    "templates": _list_of("a dotted name, such as openfl.federated", _dotted, kinds.Templates),
    "bounds": _list_of('a bound, such as "aggregator.settings.rounds_to_train <= 50"', _bound, kinds.Bounds),
    "values": _values,
    "requirements": _requirements,
    "digests": _list_of("the SHA-256 of an archive, 64 hexadecimal digits", _digest, kinds.Digests),
    "size": _size,
    "pickles": _pickles,
    "runs": _runs,
}


def condition_names() -> Iterator[str]:
    """Give the names of all conditions."""
    yield from _READERS
