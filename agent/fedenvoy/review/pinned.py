"""Reads requirement lines and locks as rules judge them: names, versions, hashes. Nothing is resolved or fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

__all__ = ["Allowed", "Pinned", "allowed", "pinned"]

_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"--hash[=\s]([a-z0-9]+:[0-9a-fA-F]+)")
_EXACT = frozenset({"==", "==="})


@frozen
class Pinned:
    """A distribution that is asked for, or locked."""

    name: str
    """Canonical."""
    version: str = ""
    """Exact; empty where the line does not say one."""
    hashes: tuple[str, ...] = ()
    """As `sha256:...`."""


@frozen
class Allowed:
    """A distribution that a rule allows."""

    name: str
    versions: SpecifierSet
    hashes: tuple[str, ...] = ()
    """Its files; empty: any."""


def pinned(text: str, *, options: bool) -> list[Pinned]:
    """Read requirement lines.

    Args:
        text: The lines; comments and continued lines as installers take them.
        options: Whether lines that are options to the installer are passed over; otherwise they are not understood.

    Raises:
        ValueError: A line asks for something that is no distribution by its name; the text shows the line.

    """
    return [_pin(line) for line in _lines(text) if not (options and line.startswith("-"))]


def allowed(text: str) -> Allowed:
    """Read what a rule allows: a name, with version specifiers and hashes where they matter.

    Raises:
        ValueError: It is something else.

    """
    requirement = _requirement(_HASH.sub("", text).strip())
    if requirement.url or requirement.marker or requirement.extras:
        raise ValueError("no address, extra or marker")
    return Allowed(canonicalize_name(requirement.name), requirement.specifier, tuple(_hashes(text)))


def _pin(line: str) -> Pinned:
    if line.startswith("-"):
        raise ValueError(f"the line {line[:100]!r} is an option to the installer")
    try:
        requirement = _requirement(_HASH.sub("", line).strip())
    except InvalidRequirement:
        raise ValueError(f"the line {line[:100]!r} is not a name with a version") from None
    if requirement.url:
        raise ValueError(f"{requirement.name} is taken from an address ({requirement.url[:100]})")
    parts = list(requirement.specifier)
    exact = len(parts) == 1 and parts[0].operator in _EXACT and not parts[0].version.endswith("*")
    return Pinned(canonicalize_name(requirement.name), parts[0].version if exact else "", tuple(_hashes(line)))


def _requirement(text: str) -> Requirement:
    return Requirement(text)


def _hashes(line: str) -> Iterator[str]:
    return (found.lower() for found in _HASH.findall(line))


def _lines(text: str) -> Iterator[str]:
    pending = ""
    for line in text.splitlines():
        bare = _COMMENT.sub("", line).strip()
        if bare.endswith("\\"):
            pending += f"{bare[:-1].rstrip()} "
            continue
        whole, pending = (pending + bare).strip(), ""
        if whole:
            yield whole
    if pending.strip():
        yield pending.strip()
