"""Reads a site's own requirements file, to know what stands in it: it is the operator's, and nobody judges it.

uv reads it, too, as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedenvoy.workspace.requirements import INCLUDES, MAX_FILES, decoded, logical_lines, options_of

__all__ = ["read_site", "site_options", "site_places"]


def read_site(path: Path) -> tuple[str, ...]:
    """Give the lines of a site's own file and of those it includes: to know them, not to judge them.

    Raises OSError where a file is not there, ValueError where it is no text.
    """
    return tuple(line for _, line in _site_lines(path))


def site_options(path: Path) -> tuple[str, ...]:
    """Give what a site's own file, and those it includes, tell the installer; directories are absolute.

    Raises as `read_site`.
    """
    options = []
    for folder, line in _site_lines(path):
        for name, value in options_of(line) if line.startswith("-") else ():
            if name == "--find-links" and "://" not in value:
                options.append(f"{name} {folder / value}")
            elif name not in {"--editable", *INCLUDES}:
                options.append(f"{name} {value}".rstrip())
    return tuple(options)


def site_places(path: Path) -> tuple[Path, ...]:
    """Give the files that a site's own file is made of, and the files and directories that its lines name.

    Raises as `read_site`.
    """
    places = {path.absolute(): None}
    for folder, line in _site_lines(path):
        named = [value for _, value in options_of(line)] if line.startswith("-") else [line.partition(" ")[0]]
        places |= {folder / name: None for name in named if name and (folder / name).exists()}
    return tuple(places)


def _site_lines(path: Path) -> Iterator[tuple[Path, str]]:
    """Give each line with the directory of its file."""
    waiting, seen = [path], set[Path]()
    while waiting and len(seen) < MAX_FILES:
        file = waiting.pop().resolve()
        if file in seen:
            continue
        seen.add(file)
        for line in logical_lines(decoded(file.read_bytes())):
            yield file.parent, line
            included = (value for name, value in options_of(line) if name in INCLUDES) if line.startswith("-") else ()
            waiting.extend(file.parent / value for value in included if "://" not in value)
