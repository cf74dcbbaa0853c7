"""All that decides what will be in an environment, and the digests by which it and its lock are found again.

The lock is found by what was asked for, the environment by the lock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from fedenvoy.workspace.failures import RequirementsError
from fedenvoy.workspace.requirements import Requirements, bounded_names, expand, project_name
from fedenvoy.workspace.site_files import read_site, site_options, site_places
from fedenvoy.workspace.sources import choose_sources

if TYPE_CHECKING:
    from fedenvoy.config import RequirementsSettings
    from fedenvoy.workspace.interpreters import Interpreter
    from fedenvoy.workspace.pins import Locked

__all__ = ["Recipe", "make_recipe"]

FORMAT = 2
"""Part of every digest: grows when environments are built in another way than before."""
_RELEVANT = ("INDEX", "FIND_LINKS", "RESOLUTION", "PRERELEASE", "CONSTRAINT", "OVERRIDE", "EXCLUDE", "BINARY", "BUILD")


@frozen
class Recipe:
    """What is asked for in one environment."""

    interpreter: Interpreter
    workspace: Path
    wanted: Requirements
    needed: tuple[str, ...]
    site: Path | None
    site_lines: tuple[str, ...]
    site_options: tuple[str, ...]
    site_places: tuple[Path, ...]
    inherit: bool
    hashes_required: bool
    uv: Mapping[str, str]
    flags: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The options that the archive's and the site's files give the installer, one a line."""
        return (*(option for option in self.wanted.options if option != "--pre"), *self.site_options)

    @property
    def directories(self) -> tuple[Path, ...]:
        """The site's directory of packages, where it installs from that alone."""
        return tuple(Path(flag) for flag in self.flags if flag.startswith("/"))

    @property
    def linked(self) -> tuple[Path, ...]:
        """The directories of this machine that packages are looked for in, too."""
        words = [word for option in self.site_options for word in option.split()]
        words += self.uv.get("UV_FIND_LINKS", "").replace(",", " ").split()
        return tuple(Path(word) for word in words if word.startswith("/"))

    @property
    def trusted(self) -> bool:
        """Whether all that is asked for is asked for by the site and the engine."""
        return not self.wanted.lines

    def moved(self, workspace: Path) -> Recipe:
        """Give the same with the archive's files at another place."""

        def there(lines: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(line.replace(f"{self.workspace}", f"{workspace}") for line in lines)

        wanted = self.wanted
        moved = Requirements(there(wanted.options), there(wanted.lines), there(wanted.constraints))
        return evolve(self, workspace=workspace, wanted=moved)

    @property
    def online(self) -> bool:
        """Whether anything may be fetched."""
        return "--offline" not in self.flags

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for."""
        return not (self.wanted.lines or self.needed or self.site is not None)

    @property
    def digest(self) -> str:
        """The same where the same is asked for; 32 hexadecimal signs."""
        options = {name: value for name, value in self.uv.items() if _is_relevant(name)}
        wanted = (self.wanted.options, self.wanted.lines, self.wanted.constraints)
        return _digest(
            FORMAT,
            self._where(),
            [[line.replace(str(self.workspace), ".") for line in lines] for lines in wanted],
            list(_contents(self.workspace, [line for lines in wanted for line in lines])),
            self.needed,
            self.site_lines,
            self.flags,
            [entry for directory in self.directories for entry in _listing(directory)],
            self.hashes_required,
            sorted(options.items()),
        )

    def environment_digest(self, locked: Locked) -> str:
        """Give the name of the environment that is built from a lock; 32 hexadecimal signs.

        A lock that is not complete does not decide alone: what is asked for, and where it is looked for, does too.
        """
        asked = None if locked.complete else self.digest
        return _digest(FORMAT, self._where(), locked.digest, locked.complete, self.site_lines, asked)

    def _where(self) -> list[object]:
        python = self.interpreter
        places = [str(place) for place in python.places] if self.inherit else None
        return [str(python.path), python.implementation, python.version, python.platform, places]


def make_recipe(
    interpreter: Interpreter,
    requirements: str,
    site: Path | None,
    needs: tuple[str, ...],
    workspace: Path,
    *,
    inherit: bool,
    settings: RequirementsSettings,
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
        options = site_options(site) if site is not None else ()
        places = site_places(site) if site is not None else ()
    except (ValueError, OSError) as error:
        raise RequirementsError(f"the site's requirements {site} (agent.requirements.site): {error}") from error
    sources = choose_sources(settings, wanted, options, uv)
    decided = bounded_names((*wanted.lines, *site_lines))
    return Recipe(
        interpreter=interpreter,
        workspace=workspace.resolve(),
        wanted=sources.wanted,
        needed=tuple(line for line in needs if project_name(line) not in decided),
        site=site,
        site_lines=site_lines,
        site_options=options,
        site_places=places,
        inherit=inherit,
        hashes_required=settings.mode == "hashes-required",
        uv=sources.uv,
        flags=sources.flags,
        notes=sources.notes,
    )


def _digest(*content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()[:32]


def _is_relevant(name: str) -> bool:
    return name.startswith("UV_") and any(word in name for word in _RELEVANT)


def _contents(root: Path, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give name and digest of every file below `root` that the lines name, or that lies in a directory they name."""
    for word in (word for line in lines for word in line.split()):
        named = Path(word)
        if not named.is_absolute() or root not in (named, *named.parents):
            continue
        for path in sorted(named.rglob("*")) if named.is_dir() else [named]:
            if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
                yield str(path.relative_to(root)), _digest_of_file(path)


def _digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _listing(directory: Path) -> Iterator[tuple[str, int, int]]:
    for path in sorted(directory.glob("*")):
        found = path.stat()
        yield path.name, found.st_size, found.st_mtime_ns
