"""Reads an experiment's requirements: what pip would take, less what would reach outside the archive.

Only text is handled here; nothing is installed. The refusals are meant for the experiment's own files: a site's file is
the operator's and goes to the installer as it stands.
"""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

__all__ = [
    "INCLUDES",
    "MAX_BYTES",
    "MAX_FILES",
    "Requirements",
    "as_constraint",
    "bounded_names",
    "decoded",
    "expand",
    "hashes_of",
    "logical_lines",
    "normalise",
    "options_of",
    "project_name",
]

MAX_BYTES = 2**20
"""The largest requirements file that is read."""
MAX_FILES = 32
"""How many files may include one another."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),  # `pip freeze > requirements.txt` in PowerShell
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMENT = re.compile(r"(^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_NAME = re.compile(r"^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(.*)$")
_VERSIONS = re.compile(r"\(?\s*[<>=!~]")
_BOUND = re.compile(r"===|==|~=|<")
_FILE_ADDRESS = re.compile(r"(?<![a-z])file:", re.IGNORECASE)
_HASH = re.compile(r"\s--hash[=\s]\s*([A-Za-z0-9]+:[0-9A-Fa-f]+)")
_REPOSITORY = re.compile(r"(?<![\w.-])(?:git|hg|svn|bzr)\+[a-z0-9]+:", re.IGNORECASE)
_PATH = re.compile(r"^[.~]|[/\\]|\.(?:whl|gz|zip)$")
_LONG_NAMES = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-f": "--find-links",
    "-i": "--index-url",
}
INCLUDES = frozenset({"--requirement", "--constraint"})
"""The options that name another file of requirements or constraints."""
_FLAGS = frozenset({"--no-index", "--pre", "--prefer-binary", "--require-hashes"})
# Debian's pip lists this package in every environment; nobody can install it.
_PHANTOMS = frozenset({"pkg-resources==0.0.0", "pkg_resources==0.0.0"})


@frozen
class Requirements:
    """What an experiment asks for, with all its files read and all its paths absolute."""

    options: tuple[str, ...] = ()
    """Installer options, one per line."""
    lines: tuple[str, ...] = ()
    """Requirements, one per line."""
    constraints: tuple[str, ...] = ()
    """Constraints, one per line."""


def normalise(data: bytes) -> str:
    """Give the lines that say something: decoded, continued lines joined, without comments, options first.

    A file that names no requirement gives an empty text. Raises ValueError where the bytes are no text.
    """
    options: list[str] = []
    wanted: list[str] = []
    for line in logical_lines(decoded(data)):
        (options if line.startswith("-") else wanted).append(line)
    asks = wanted or any(_is_include(line) for line in options)
    return "\n".join(options + wanted) if asks else ""


def expand(text: str, root: Path, folder: Path | None = None) -> Requirements:
    """Read the files that `text` includes, and make its paths absolute.

    Args:
        text: Normalised requirements.
        root: The unpacked archive; nothing outside it may be named.
        folder: Where the file of `text` lies; default: `root`.

    Raises ValueError, in one sentence, at the first line that may not be.

    """
    reader = _Reader(root.resolve())
    reader.read(text, (folder or root).resolve(), constrain=False)
    return Requirements(tuple(reader.options), tuple(reader.lines), tuple(reader.constraints))


def project_name(line: str) -> str:
    """Give the canonical name of the project a requirement line names; empty where it names none."""
    match = _NAME.match(line)
    return re.sub(r"[-_.]+", "-", match.group(1)).lower() if match else ""


def as_constraint(line: str) -> str:
    """Give a requirement line as a constraint, without extras; empty where it asks for no version."""
    match = _NAME.match(line)
    rest = match.group(2).strip() if match else ""
    versions = rest.partition(";")[0]
    return f"{project_name(line)} {rest}" if _VERSIONS.match(versions) else ""


def hashes_of(line: str) -> tuple[str, ...]:
    """Give the hashes that a requirement line asks for, as `algorithm:hexadecimal`."""
    return tuple(match.lower() for match in _HASH.findall(line))


def bounded_names(lines: Iterable[str]) -> frozenset[str]:
    """Give the projects whose version the lines decide: an exact one, an upper bound or a place to take it from."""
    bounded = set()
    for line in lines:
        match = _NAME.match(line)
        if match:
            rest = match.group(2).split(";")[0]
            if rest.lstrip("( ").startswith("@") or _BOUND.search(rest):
                bounded.add(project_name(line))
    return frozenset(bounded)


class _Reader:
    """Collects lines over files that include one another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.options: list[str] = []
        self.lines: list[str] = []
        self.constraints: list[str] = []
        self._files = 0

    def read(self, text: str, folder: Path, *, constrain: bool) -> None:
        for line in text.splitlines():
            if _VARIABLE.search(line):
                raise ValueError(f"{line!r} asks for a variable of this node's environment, which is not given out")
            if _FILE_ADDRESS.search(line):
                raise ValueError(f"{line!r} names a file of another machine; an experiment may not use file: addresses")
            if _REPOSITORY.search(line):
                raise ValueError(
                    f"{line!r} names a repository, whose content no hash binds; name a released version, or put the "
                    "package into the archive"
                )
            if line.startswith("-"):
                self._option_line(line, folder, constrain=constrain)
            else:
                (self.constraints if constrain else self.lines).append(self._requirement(line, folder))

    def _option_line(self, line: str, folder: Path, *, constrain: bool) -> None:
        for option, value in options_of(line):
            if option == "--editable":
                raise ValueError(f"{line!r} asks for an editable installation, which an experiment may not have")
            if option in INCLUDES:
                self._include(line, value, folder, constrain=constrain or option == "--constraint")
            elif option == "--find-links" and "://" not in value:
                self.options.append(f"{option} {self._inside(line, folder / value)}")
            else:
                self.options.append(f"{option} {value}".rstrip())

    def _include(self, line: str, value: str, folder: Path, *, constrain: bool) -> None:
        self._files += 1
        if self._files > MAX_FILES:
            raise ValueError(f"the requirements include more than {MAX_FILES} files")
        path = self._inside(line, folder / value)
        if "://" in value or not path.is_file():
            raise ValueError(f"{line!r} names a file that is not in the archive")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{line!r} names a file of more than {MAX_BYTES} bytes")
        self.read(normalise(path.read_bytes()), path.parent, constrain=constrain)

    def _requirement(self, line: str, folder: Path) -> str:
        """Make the path in a requirement absolute; leave all others as they are."""
        if "://" in line:
            return line
        bare, dashes, options = line.partition(" --")
        head, at, target = (part.strip() for part in bare.partition("@"))
        place, semicolon, marker = (part.strip() for part in (target if at else bare).partition(";"))
        rest = (f" ; {marker}" if semicolon else "") + dashes + options
        if at and target and _NAME.match(head):
            return f"{head} @ {self._inside(line, folder / place)}{rest}"
        if _PATH.search(place):
            return f"{self._inside(line, folder / place)}{rest}"
        return line

    def _inside(self, line: str, path: Path) -> Path:
        resolved = path.resolve()
        if self.root not in (resolved, *resolved.parents):
            raise ValueError(f"{line!r} reaches outside the experiment's archive")
        return resolved


def decoded(data: bytes) -> str:
    """Give the text of a file; raises ValueError where it is none."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("the requirements are not text in UTF-8") from None


def logical_lines(text: str) -> Iterator[str]:
    """Give the lines that say something: continued ones joined, without comments."""
    pending = ""
    for line in text.splitlines():
        bare = _COMMENT.sub("", line).strip()
        if bare.endswith("\\"):
            pending += bare[:-1].rstrip() + " "
            continue
        whole, pending = (pending + bare).strip(), ""
        if whole and whole not in _PHANTOMS:
            yield whole
    if pending.strip():
        yield pending.strip()


def _is_include(line: str) -> bool:
    return line.startswith(("-r", "--requirement", "-e", "--editable"))


def options_of(line: str) -> Iterator[tuple[str, str]]:
    """Split a line of options, as pip does, into (long name, value); the value of a flag is empty."""
    try:
        words = iter(shlex.split(line))
    except ValueError as error:
        raise ValueError(f"{line!r} cannot be read: {error}") from None
    for word in words:
        if word.startswith("--"):
            name, given, value = word.partition("=")
        else:
            name, value = word[:2], word[2:].removeprefix("=")
            given = value
        name = _LONG_NAMES.get(name, name)
        if not name.startswith("--"):
            raise ValueError(f"{line!r} cannot be read: {word!r} is not an option")
        yield name, value if given or name in _FLAGS else next(words, "")
