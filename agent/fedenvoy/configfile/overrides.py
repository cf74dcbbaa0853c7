"""Settings from outside the file: environment variables, and `--set` on the command line, which wins over both.

They are laid over the `agent:` section before that is read, so that one set of rules judges them all; where each came
from is kept for the sentences and for `fedenvoy config`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from attrs import frozen

from fedenvoy.config import PREFIX, AgentSettings
from fedenvoy.configfile.findings import Findings
from fedenvoy.configfile.names import setting_names, variable_name
from fedenvoy.configfile.reading import parse_value
from fedenvoy.errors import ConfigurationError

__all__ = ["Override", "agent_settings", "laid_over", "overrides"]

logger = logging.getLogger(__name__)

_NEAR = 0.85
_OTHERS = frozenset({"FEDENVOY_RUN", "FEDENVOY_REVIEW_TOKEN"})
"""Variables of this name that are no settings."""


@frozen
class Override:
    """One setting given outside the file."""

    name: str
    """Dotted, with `agent.` in front."""
    value: object
    """What YAML makes of the text."""
    origin: str
    """Where it was given, for people."""


def overrides(environ: Mapping[str, str], assignments: Iterable[str], found: Findings) -> Iterator[Override]:
    """Give what is set outside the file, what wins last.

    Args:
        environ: The environment variables; an empty one counts as not given.
        assignments: `NAME=VALUE`, with or without `agent.` in front of the name, in the order given.
        found: Gets an assignment that is none, and a warning for a variable whose name nearly is a setting's.

    """
    given = {name: text for name, text in environ.items() if name.startswith(PREFIX) and text and name not in _OTHERS}
    if given:
        names = {variable_name(setting): setting for setting in setting_names()}
        for variable, text in sorted(given.items()):
            if variable in names:
                yield Override(names[variable], parse_value(text), f"environment variable {variable}")
            elif near := get_close_matches(variable, names, n=1, cutoff=_NEAR):
                found.warn(f"the environment variable {variable} sets nothing; did you mean {near[0]}?")
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            found.problems.append(f"--set {assignment}: expected NAME=VALUE, such as link.tries=3")
            continue
        dotted = "agent." + name.strip().removeprefix("agent.")
        yield Override(dotted, parse_value(text), f"--set {name.strip()}")


def agent_settings(environ: Mapping[str, str], home: Path) -> AgentSettings:
    """Give the settings of a node that has no file: the defaults, and what the environment says.

    Args:
        environ: The environment variables.
        home: Where relative paths begin.

    Raises:
        ConfigurationError: With every problem.

    """
    found = Findings("the environment")
    given = list(overrides(environ, (), found))
    for sentence in found.warnings:
        logger.warning("%s", sentence)
    if not given:
        return AgentSettings(home=home)
    from fedenvoy.configfile.agent_section import read_agent  # noqa: PLC0415 - cattrs is slow to import

    origins = {override.name: override.origin for override in given}
    settings = read_agent(laid_over({}, given, found), home=home, found=found, origins=origins)
    if found.problems:
        raise ConfigurationError(*found.problems)
    return settings


def laid_over(section: Mapping[Any, Any], given: Iterable[Override], found: Findings) -> dict[Any, Any]:
    """Give the section with the overrides in it; the section itself stays as it is."""
    result = dict(section)
    for override in given:
        *sections, last = override.name.split(".")[1:]
        place = result
        for name in sections:
            inner = place.get(name)
            if inner is not None and not isinstance(inner, Mapping):
                found.problems.append(f"{override.origin}: {override.name}: no such setting; {name} is no section")
                break
            place[name] = place = dict(inner or {})
        else:
            place[last] = override.value
    return result
