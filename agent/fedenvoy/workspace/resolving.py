"""From what is asked for to a lock: uv resolves it, and runs no code of any package while nobody has approved that."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fedenvoy.workspace.failures import RequirementsError
from fedenvoy.workspace.pins import Locked, Pin, placed, read_pins, with_hashes, write_pins
from fedenvoy.workspace.requirements import hashes_of, project_name

if TYPE_CHECKING:
    from fedenvoy.workspace.recipes import Recipe

__all__ = ["install_list", "lock_of", "must_be_built", "resolve", "unbuilt_names"]

ARCHIVE, ENGINE, CONSTRAINTS, RESULT = "of-the-archive.txt", "of-the-engine.txt", "constraints.txt", "lock.txt"

NO_HASH = "and this site installs nothing without one (agent.requirements.mode: hashes-required)"
MAX_LOCK_BYTES = 8 * 2**20

_UNBUILT = re.compile(
    r"(?:Wheels are required for|Building source distributions for|A source distribution is required for) `([^`]+)`"
)
_DISABLED = re.compile(r"building (?:from )?source(?: distributions)?(?: for `[^`]+`)? is disabled", re.IGNORECASE)


def resolve(recipe: Recipe, folder: Path, run: Callable[..., None], *, build: bool = False) -> tuple[Pin, ...]:
    """Resolve all that is asked for.

    Args:
        recipe: What is asked for.
        folder: A directory for uv's input and output.
        run: Runs one of uv's commands.
        build: Whether packages may be built to learn what they require.

    Raises:
        RequirementsError: It cannot be resolved, or hashes are missing that must be there.

    """
    result = folder / RESULT
    result.unlink(missing_ok=True)
    arguments = ["pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--annotation-style", "line"]
    arguments += ["--python", str(recipe.interpreter.path), "--output-file", str(result), *recipe.flags]
    arguments += [] if build else ["--no-build"]
    run(*arguments, *_files(recipe, folder))
    pins = with_hashes(read_pins(_read(result)), recipe.wanted.lines)
    if recipe.site is not None:  # the paths of the archive are absolute; the site's are as they stand in its file
        pins = tuple(pin.absolute(recipe.site.absolute().parent) for pin in pins)
    if recipe.hashes_required:
        _demand_listed(recipe, pins)
    return pins


def lock_of(recipe: Recipe, pins: tuple[Pin, ...]) -> Locked:
    """Give the lock for what was resolved without building; one that is not complete where a pin must be built.

    What the site itself has as sources, the site trusts: that is built with the rest of the lock.
    """
    unbuilt = [pin.requirement for pin in pins if not (pin.is_wheel or pin.is_sites(recipe.workspace))]
    if unbuilt:
        return must_be_built(recipe, tuple(name.replace(f"{recipe.workspace}/", "./") for name in unbuilt))
    return Locked(write_pins(pins, recipe.workspace, recipe.notes), recipe.notes)


def must_be_built(recipe: Recipe, names: tuple[str, ...]) -> Locked:
    """Give what can be said before packages may be built: what is asked for, and that the rest is not known.

    Raises:
        RequirementsError: This site installs nothing without a hash; what builds a package has none.

    """
    words = f"{', '.join(sorted(set(names)))} must be built from source"
    if recipe.hashes_required:
        raise RequirementsError(
            f"the experiment's requirements are refused: {words}, by packages that carry no hash, {NO_HASH}",
            "refused",
        )
    notes = (*recipe.notes, f"{words}, which runs its code: what else will be installed is known only then")
    asked = [Pin(line.partition(" --hash")[0].strip(), hashes_of(line)) for line in recipe.wanted.lines]
    rest = [Pin(line) for line in (*recipe.needed, *_wanted_by_site(recipe))]
    limits = [f"limit: {line}" for line in recipe.wanted.constraints]
    return Locked(write_pins((*asked, *rest), recipe.workspace, (*notes, *limits)), notes, complete=False)


def unbuilt_names(error: RequirementsError) -> tuple[str, ...]:
    """Give the packages that only building would have helped with, where uv failed for that; else none."""
    text = f"{error.tail}\n{error}"
    return tuple(dict.fromkeys(_UNBUILT.findall(text))) or (("something",) if _DISABLED.search(text) else ())


def install_list(recipe: Recipe, text: str) -> str:
    """Give a lock as uv installs it: with where to look for packages, and the archive's files where they lie now."""
    return "".join(f"{option}\n" for option in recipe.options) + placed(text, recipe.workspace)


def _files(recipe: Recipe, folder: Path) -> list[str]:
    """Write the files that uv reads, and give the arguments that name them."""
    arguments = []
    if recipe.wanted.lines:
        _write(folder / ARCHIVE, (*(o for o in recipe.wanted.options if o != "--pre"), *recipe.wanted.lines))
        arguments.append(str(folder / ARCHIVE))
    if "--pre" in recipe.wanted.options:
        arguments += ["--prerelease", "allow"]
    if recipe.needed:
        _write(folder / ENGINE, recipe.needed)
        arguments.append(str(folder / ENGINE))
    if recipe.site is not None:
        arguments.append(str(recipe.site.absolute()))
    if recipe.wanted.constraints:
        _write(folder / CONSTRAINTS, recipe.wanted.constraints)
        arguments += ["-c", str(folder / CONSTRAINTS)]
    return arguments


def _read(path: Path) -> str:
    """Read a file that a package's code may have put in the place of uv's: a link is not followed."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
            return file.read(MAX_LOCK_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise RequirementsError(f"the requirements could not be resolved: {error}", "other") from error


def _write(path: Path, lines: tuple[str, ...]) -> None:
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o644)


def _wanted_by_site(recipe: Recipe) -> tuple[str, ...]:
    return tuple(line for line in recipe.site_lines if not line.startswith("-"))


def _demand_listed(recipe: Recipe, pins: tuple[Pin, ...]) -> None:
    """See that the archive itself gives a hash for all that is installed on its behalf, as pip demands it, too."""
    listed = {project_name(line) for line in recipe.wanted.lines if hashes_of(line)}
    files = [pin for pin in pins if not pin.requirement[0].isalnum()]  # a file of the archive that carries a hash
    own = {pin.name for pin in pins if any(_is_sites(who) for who in pin.wanted_by)}
    while more := {pin.name for pin in pins if own & set(pin.wanted_by)} - own:
        own |= more
    for pin in pins:
        if pin.name not in listed | own and pin not in files:
            wanted_by = ", ".join(who for who in pin.wanted_by if not who.startswith("-"))
            raise RequirementsError(
                f"the experiment's requirements are refused: {pin.requirement} ({wanted_by or 'they'} need it) is not "
                f"listed with a hash, {NO_HASH}",
                "refused",
            )


def _is_sites(who: str) -> bool:
    """Whether it is a file of the site's or the engine's that wants something."""
    return who.startswith("-r ") and Path(who[3:]).name != ARCHIVE
