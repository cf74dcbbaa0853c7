"""What an interpreter needs to run: where it and its packages lie, told from its files without running it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

__all__ = ["places_named", "places_of"]

_SYSTEM = frozenset({"/", "/usr", "/usr/local"})
_PARTS = ("bin", "lib", "lib64", "include", "share", "pyvenv.cfg")
_QUOTED = re.compile(r"""["'](/[^"'\n]+)["']""")
_LISTS = ("LD_LIBRARY_PATH", "PYTHONPATH")
_LONGEST = 2**20


def places_of(python: Path) -> tuple[Path, ...]:
    """Give the files and directories that an interpreter reads, besides the system's own.

    These are its installation, the one that a virtual environment was made from, and what `.pth` files and editable
    installations lead to. Never a whole home directory, nor one that holds it.
    """
    found: dict[Path, None] = {python: None}
    waiting = [python]
    seen: set[Path] = set()
    while waiting:
        program = waiting.pop()
        if program in seen:
            continue
        seen.add(program)
        real = Path(os.path.realpath(program))
        waiting.append(real)
        prefix = program.parent.parent
        if program.parent.name != "bin" or not _is_installation(prefix):
            continue
        found |= dict.fromkeys(_narrowed(prefix))
        base = _base(prefix / "pyvenv.cfg")
        if base is not None:
            waiting.append(base / program.name)
            waiting.append(base / "python")
        found |= dict.fromkeys(_linked(prefix.glob("lib*/python3*/site-packages")))
    return tuple(found)


def places_named(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Give the directories that the variables for libraries and modules name."""
    named = [Path(part) for name in _LISTS for part in env.get(name, "").split(os.pathsep) if part.startswith("/")]
    return tuple(part for place in named if place.is_dir() for part in _narrowed(place))


def _is_installation(prefix: Path) -> bool:
    return (prefix / "pyvenv.cfg").is_file() or any(prefix.glob("lib*/python3*"))


def _narrowed(place: Path) -> tuple[Path, ...]:
    """Give a directory, or only the parts of it that belong to programs where it holds a person's files as well."""
    real = os.path.realpath(place)
    if real in _SYSTEM:
        return ()
    homes = {os.path.realpath(path) for path in (os.path.expanduser("~"), "/home", "/root")}  # noqa: PTH111
    if any(home == real or home.startswith(f"{real}/") for home in homes):
        return tuple(place / part for part in _PARTS if (place / part).exists())
    return (place,)


def _base(settings: Path) -> Path | None:
    """Give the directory of the interpreter that a virtual environment was made from."""
    for line in _lines(settings):
        name, _, value = line.partition("=")
        if name.strip() == "home" and value.strip().startswith("/"):
            return Path(value.strip())
    return None


def _linked(directories: Iterable[Path]) -> Iterator[Path]:
    """Give the directories outside that packages of an installation are taken from."""
    waiting, seen = list(directories), set[Path]()
    while waiting:
        packages = waiting.pop()
        if packages in seen or not packages.is_dir():
            continue
        seen.add(packages)
        for file in (*packages.glob("*.pth"), *packages.glob("__editable__*.py")):
            for line in _lines(file):
                named = [line.strip()] if line.startswith("/") else _QUOTED.findall(line)
                for place in map(Path, named):
                    if place.is_dir():
                        yield from _narrowed(place)
                        if "addsitedir" in line:
                            waiting.append(place)


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST).splitlines()
    except OSError:
        return []
