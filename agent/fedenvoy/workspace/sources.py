"""Where packages may come from: the site's modes and its list of indexes, against what is asked for.

Nothing is fetched here. What the archive asks for and may not have is the experiment's fault; what this machine's own
variables or the site's file ask for is the site's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from attrs import evolve, frozen

from fedenvoy.workspace.failures import RequirementsError
from fedenvoy.workspace.requirements import Requirements, hashes_of, options_of

if TYPE_CHECKING:
    from fedenvoy.config import RequirementsSettings

__all__ = ["Sources", "choose_sources"]

_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_DEFAULTS = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_SOURCES = frozenset({"--index-url", "--extra-index-url", "--find-links"})
_ADDRESS = re.compile(r"(?<![\w+.-])(?:[a-z][a-z0-9+.-]*)://\S+", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


@frozen
class Sources:
    """What decides where uv looks."""

    wanted: Requirements
    """The experiment's requirements, less what is not heeded here."""
    uv: Mapping[str, str]
    """uv's environment variables."""
    flags: tuple[str, ...] = ()
    """uv's arguments for all commands that look for packages."""
    notes: tuple[str, ...] = ()
    """What is not heeded, in sentences."""


def choose_sources(
    settings: RequirementsSettings, wanted: Requirements, site_options: tuple[str, ...], uv: Mapping[str, str]
) -> Sources:
    """Judge where packages would come from.

    Args:
        settings: `agent.requirements`.
        wanted: The experiment's requirements, expanded.
        site_options: The options in the site's own file, one a line.
        uv: uv's environment variables.

    Raises:
        RequirementsError: `refused` for the experiment's part, `environment` for this machine's.

    """
    if settings.mode == "hashes-required":
        _demand_hashes(wanted)
    if settings.mode == "offline":
        return _offline(settings, wanted, uv)
    if settings.indexes:
        return _listed(settings.indexes, wanted, site_options, uv)
    return Sources(wanted, uv)


def _demand_hashes(wanted: Requirements) -> None:
    for line in wanted.lines:
        if not hashes_of(line):
            raise RequirementsError(
                f"the experiment's requirements are refused: {line[:200]!r} carries no hash, and this site installs "
                "nothing without one (agent.requirements.mode: hashes-required)",
                "refused",
            )


def _offline(settings: RequirementsSettings, wanted: Requirements, uv: Mapping[str, str]) -> Sources:
    if settings.wheels is None:
        raise RequirementsError("agent.requirements.mode: offline needs a directory in agent.requirements.wheels")
    for line in (*wanted.lines, *wanted.constraints):
        for address in _ADDRESS.findall(line):
            raise RequirementsError(
                f"the experiment's requirements are refused: they ask for {_bare(address)}, and this site installs "
                "without a network (agent.requirements.mode: offline)",
                "refused",
            )
    kept, notes = [], []
    for line in wanted.options:
        asked = [value for name, value in options_of(line) if name in _SOURCES and "://" in value]
        if asked:
            notes.append(f"not asked, because this site installs without a network: {_bare(asked[0])}")
        else:
            kept.append(line)
    silent = {name: value for name, value in uv.items() if not ("INDEX" in name or name in _VARIABLES)}
    flags = ("--no-config", "--offline", "--no-index", "--find-links", str(settings.wheels.absolute()))
    return Sources(evolve(wanted, options=tuple(kept)), silent, flags, tuple(notes))


def _listed(
    indexes: tuple[str, ...], wanted: Requirements, site_options: tuple[str, ...], uv: Mapping[str, str]
) -> Sources:
    archive = (address for line in (*wanted.options, *wanted.lines, *wanted.constraints) for address in _asked_in(line))
    _demand(archive, indexes, "the experiment's requirements are refused: they ask for", "refused")
    site = (address for line in site_options for address in _asked_in(line))
    _demand(site, indexes, "the site's requirements (agent.requirements.site) name", "environment")
    for name in _VARIABLES:
        _demand(_addresses(uv.get(name, "")), indexes, f"the environment variable {name} names", "environment")
    named = {name for line in (*wanted.options, *site_options) for name, _ in options_of(line)}
    decided = named & {"--index-url", "--no-index"} or any(uv.get(name) for name in (*_DEFAULTS, "UV_NO_INDEX"))
    flags = ("--no-config", *(() if decided else ("--default-index", indexes[0])))
    return Sources(wanted, {name: value for name, value in uv.items() if name != "UV_TORCH_BACKEND"}, flags)


def _demand(addresses: Iterable[str], indexes: tuple[str, ...], words: str, kind: str) -> None:
    """See that all addresses are in the site's list, or below what is."""
    for address in addresses:
        if not any(_below(address, index) for index in indexes):
            raise RequirementsError(
                f"{words} {_bare(address)}, which is not in this site's list (agent.requirements.indexes)", kind
            )


def _asked_in(line: str) -> Iterator[str]:
    """Give the addresses that a line of a requirements file names; a directory of the archive is none."""
    if line.startswith("-"):
        yield from (value for name, value in options_of(line) if name in _SOURCES and "://" in value)
    else:
        yield from _ADDRESS.findall(line)


def _addresses(value: str) -> Iterator[str]:
    """Give the addresses in a variable of uv's; a path of this machine is one that begins with file:."""
    for word in re.split(r"[,\s]+", value.strip()) if value.strip() else ():
        name, given, address = word.partition("=")
        place = address if given and "://" not in name else word
        yield place if "://" in place else Path(place).absolute().as_uri()


def _below(address: str, index: str) -> bool:
    try:
        one, other = urlsplit(address), urlsplit(index)
        if _place(one) != _place(other) or re.search(
            r"(?:/|%2f|\\)(?:\.|%2e){1,2}(?:/|%2f|\\|$)", one.path, re.IGNORECASE
        ):
            return False
    except ValueError:
        return False
    top = other.path.rstrip("/")
    return one.path.rstrip("/") == top or one.path.startswith(f"{top}/")


def _place(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def _bare(address: str) -> str:
    """Give an address without the name and password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", address)[:200]
