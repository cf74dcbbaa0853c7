"""What a resolution gave: every package with its version and hashes, as text that people review and uv installs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from attrs import evolve, field, frozen

from fedenvoy.workspace.requirements import hashes_of, project_name

__all__ = ["Locked", "Pin", "placed", "read_pins", "with_hashes", "write_pins"]

_VERSION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?==")


@frozen
class Locked:
    """An experiment's locked requirements."""

    text: str
    """One package a line, with the hashes behind it; a line that begins with `#` is for whoever reviews. Empty where
    nothing is installed."""
    notes: tuple[str, ...] = ()
    """What the lock cannot say of itself, in sentences; they stand in the text, too."""
    complete: bool = True
    """Whether it names all that will be installed, and wheels only; False: something must be built first."""
    digest: str = field(init=False)
    """SHA-256 of the text, hexadecimal; empty where there is none."""

    @digest.default
    def _digest(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest() if self.text else ""


@frozen
class Pin:
    """One package of a lock."""

    requirement: str
    """`name==version`, or the path or address of what is installed."""
    hashes: tuple[str, ...] = ()
    """`algorithm:hexadecimal`, as the index told them."""
    wanted_by: tuple[str, ...] = ()
    """Names of packages, and files as `-r FILE`."""

    @property
    def name(self) -> str:
        """The canonical name of the project; of a wheel's file, what the file's name says."""
        if _VERSION.match(self.requirement) or " @ " in self.requirement:
            return project_name(self.requirement)
        return project_name(re.split(r"[/\\]", self.requirement)[-1].partition("-")[0])

    def is_sites(self, workspace: Path) -> bool:
        """Whether it is a directory or file of the site's own, which lies outside the archive."""
        path = self.requirement.removeprefix("-e ").removeprefix("file://")
        return path.startswith("/") and not path.startswith(f"{workspace}/")

    def absolute(self, folder: Path) -> Pin:
        """Give the same with a path that is relative to `folder` made absolute."""
        editable = "-e " if self.requirement.startswith("-e ") else ""
        path = self.requirement.removeprefix("-e ")
        if _VERSION.match(path) or " @ " in path or "://" in path:
            return self
        return evolve(self, requirement=f"{editable}{folder / path}")

    @property
    def is_wheel(self) -> bool:
        """Whether it is installed without building: a version was resolved among wheels only."""
        return bool(_VERSION.match(self.requirement)) or re.split(r"[?#]", self.requirement)[0].endswith(".whl")


def read_pins(text: str) -> tuple[Pin, ...]:
    """Read what `uv pip compile` wrote, with its comments on who wants what."""
    pins: list[Pin] = []
    for line in text.splitlines():
        bare = line.strip().removesuffix("\\").strip()
        if not bare or (bare.startswith("#") and not pins):
            continue
        if bare.startswith("--hash="):
            pins[-1] = evolve(pins[-1], hashes=(*pins[-1].hashes, bare.removeprefix("--hash=")))
        elif bare.startswith("#"):
            more = _names(bare.lstrip("# ").removeprefix("via"))
            pins[-1] = evolve(pins[-1], wanted_by=(*pins[-1].wanted_by, *more))
        elif not line.startswith("--"):
            requirement, _, wanted_by = bare.partition("# via ")
            pins.append(Pin(requirement.strip(), (), _names(wanted_by)))
    return tuple(pins)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def write_pins(pins: Iterable[Pin], workspace: Path, notes: Iterable[str] = ()) -> str:
    """Give the lock's text; what lies in the archive is named relative to it: the text is the same each time."""
    lines = [f"# {note}" for note in notes]
    for pin in pins:
        requirement = pin.requirement.replace(f"{workspace.resolve()}/", "./")
        lines.append(" \\\n    ".join([requirement, *(f"--hash={value}" for value in pin.hashes)]))
    return "".join(f"{line}\n" for line in lines)


def placed(text: str, workspace: Path) -> str:
    """Give a lock's text with the archive's own files where they lie now."""
    root = f"{workspace.resolve()}/"
    return re.sub(r"(?m)(^(?:-e )?|@ )\./", lambda match: match.group(1) + root, text)


def with_hashes(pins: Iterable[Pin], lines: Iterable[str]) -> tuple[Pin, ...]:
    """Put the hashes that requirement lines ask for in the place of those that the index told."""
    asked = {project_name(line): given for line in lines if (given := hashes_of(line))}
    return tuple(evolve(pin, hashes=asked.get(pin.name, pin.hashes)) for pin in pins)
