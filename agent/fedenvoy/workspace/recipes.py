"""All that decides what is in an experiment's environment, and the digest by which the environment is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from fedenvoy.workspace.installer import RequirementsError
from fedenvoy.workspace.interpreters import Interpreter, inspect
from fedenvoy.workspace.requirements import Requirements, bounded_names, expand, project_name, read_site

__all__ = ["Recipe", "make_recipe"]

FORMAT = 1
"""Part of every digest: grows when environments are built in another way than before."""
_RELEVANT = ("INDEX", "FIND_LINKS", "RESOLUTION", "PRERELEASE", "CONSTRAINT", "OVERRIDE", "EXCLUDE", "BINARY", "BUILD")


@frozen
class Recipe:
    """What goes into one environment."""

    interpreter: Interpreter
    wanted: Requirements
    needed: tuple[str, ...]
    site: Path | None
    site_lines: tuple[str, ...]
    inherit: bool
    uv: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The same for the same content; 32 hexadecimal signs."""
        options = {name: value for name, value in self.uv.items() if _is_relevant(name)}
        content = [
            FORMAT,
            [str(self.interpreter.path), self.interpreter.implementation, self.interpreter.version],
            [self.wanted.options, self.wanted.lines, self.wanted.constraints],
            self.needed,
            self.site_lines,
            [str(place) for place in self.interpreter.places] if self.inherit else None,
            sorted(options.items()),
        ]
        return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()[:32]


def make_recipe(
    python: Path,
    requirements: str,
    site: Path | None,
    needs: tuple[str, ...],
    workspace: Path,
    *,
    inherit: bool,
    uv: Mapping[str, str],
) -> Recipe:
    """Read all that is asked for; the arguments are those of `Environments.build`, with uv's environment variables.

    Raises:
        RequirementsError: Something may not be asked for, or cannot be read.

    """
    try:
        wanted = expand(requirements, workspace)
    except (ValueError, OSError) as error:
        raise RequirementsError(f"the experiment's requirements are refused: {error}", "refused") from error
    try:
        site_lines = read_site(site) if site is not None else ()
    except (ValueError, OSError) as error:
        raise RequirementsError(f"the site's requirements {site} (agent.requirements.site): {error}") from error
    decided = bounded_names((*wanted.lines, *site_lines))
    return Recipe(
        interpreter=inspect(python),
        wanted=wanted,
        needed=tuple(line for line in needs if project_name(line) not in decided),
        site=site,
        site_lines=site_lines,
        inherit=inherit,
        uv=uv,
    )


def _is_relevant(name: str) -> bool:
    return name.startswith("UV_") and any(word in name for word in _RELEVANT)
