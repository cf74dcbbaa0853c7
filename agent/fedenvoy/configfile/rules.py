"""How one value of the `agent:` section is read: a rule takes what YAML gave and returns what the node uses.

A rule raises ValueError whose text says what was expected; it knows neither the setting's name nor the file.
Durations become seconds, sizes become bytes.
"""

from __future__ import annotations

import contextlib
import grp
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

__all__ = [
    "Rule",
    "addresses",
    "boolean",
    "choice",
    "command_line",
    "count",
    "count_from",
    "duration",
    "file_path",
    "file_paths",
    "limit",
    "ratio",
    "size",
    "size_from",
    "unix_group",
    "user",
    "variables",
    "web_address",
]

T = TypeVar("T")
Rule = Callable[[object], T]

_DAY = 24 * 3600.0
_LONGEST = 366 * _DAY
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY}
_BYTES = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for suffix, base in (("b", 1000), ("ib", 1024))
    for power, letter in enumerate("kmgt", start=1)
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:=[^\0]*)?\Z")
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*", re.ASCII)
_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


def boolean(value: object) -> bool:
    """Read true or false; the words yes, no, on and off (text in YAML 1.2) count too."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.casefold() in _WORDS:
        return _WORDS[value.casefold()]
    raise ValueError("expected true or false")


def choice(*names: str, hint: str = "") -> Rule[str]:
    """Make a rule that takes one of `names`."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in names:
            return value
        raise ValueError(f"expected {', '.join(names[:-1])} or {names[-1]}{hint}")

    return read


def count(least: int, most: int | None = None) -> Rule[int]:
    """Make a rule that takes a whole number, `least` or more, up to `most`."""

    def read(value: object) -> int:
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and least <= value <= (value if most is None else most)
        ):
            return value
        raise ValueError(f"expected a whole number, {least} " + ("or more" if most is None else f"to {most}"))

    return read


def count_from(least: int) -> Rule[int]:
    """Make a rule that takes a whole number, `least` or more, or 0 for no limit."""
    number = count(0)

    def read(value: object) -> int:
        with contextlib.suppress(ValueError):
            amount = number(value)
            if amount == 0 or amount >= least:
                return amount
        raise ValueError(f"expected a whole number, {least} or more, or 0 for no limit")

    return read


def ratio(value: object) -> float:
    """Read a number that is not negative."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise ValueError("expected a number, 0 or more")


def duration(least: float) -> Rule[float]:
    """Make a rule that takes `least` seconds or more: a number of seconds, or text such as "90s" or "7d"."""

    def read(value: object) -> float:
        seconds = _quantity(value, _SECONDS)
        if seconds is None or not least <= seconds <= _LONGEST:
            raise ValueError(f'expected {least:g} seconds or more, as a number or as "90s", "10m", "24h", up to "366d"')
        return seconds

    return read


def limit(word: str, key: str, least: float) -> Rule[float | None]:
    """Make a rule that takes `word` for no limit, or a mapping with the one key `key` and a duration behind it."""
    seconds = duration(least)

    def read(value: object) -> float | None:
        if value == word:
            return None
        if isinstance(value, dict) and list(value) == [key]:
            return seconds(value[key])
        raise ValueError(f'expected {word}, or "{key}: 30m"')

    return read


def size(value: object) -> int:
    """Read bytes: a number, or text such as "500MB" (powers of 1000) or "4GiB" (powers of 1024)."""
    amount = _quantity(value, _BYTES)
    if amount is None:
        raise ValueError('expected a number of bytes, or a size such as "500MB" or "4GiB"')
    return round(amount)


def size_from(least: int, words: str, *, never: bool = False) -> Rule[int]:
    """Make a rule that takes `least` bytes or more (`words` says how many), or, unless `never`, 0 for no limit."""

    def read(value: object) -> int:
        amount = size(value)
        if amount >= least or (amount == 0 and not never):
            return amount
        raise ValueError(f"expected a size, {words} or more" + ("" if never else ", or 0 for no limit"))

    return read


def variables(value: object) -> tuple[str, ...]:
    """Read a list of environment variables: names, or `NAME=value`."""
    if isinstance(value, list) and all(isinstance(entry, str) and _VARIABLE.match(entry) for entry in value):
        return tuple(value)
    raise ValueError('expected a list of names and values of environment variables, such as [HF_TOKEN, "MODE=fast"]')


def file_path(home: Path, *, kind: str = "") -> Rule[Path]:
    """Make a rule that takes a path, relative to `home`; `kind` says what must be there.

    Args:
        home: Where relative paths begin.
        kind: "" for a path that may not exist yet, else `file`, `directory` or `program`.

    """

    def read(value: object) -> Path:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise ValueError("expected a path")
        try:
            path = home / Path(value).expanduser()
        except RuntimeError as error:
            raise ValueError(f"expected a path ({error})") from None
        if not _fits(path, kind):
            raise ValueError(f"expected {_KINDS[kind]}; there is none at {path}")
        return path

    return read


def file_paths(home: Path) -> Rule[tuple[Path, ...]]:
    """Make a rule that takes a list of paths, relative to `home`, each of something that is there."""
    one = file_path(home)

    def read(value: object) -> tuple[Path, ...]:
        if not isinstance(value, list):
            raise ValueError("expected a list of paths")  # noqa: TRY004 - a rule's one error
        paths = tuple(map(one, value))
        for path in paths:
            if not path.exists():
                raise ValueError(f"expected paths of what is there; there is nothing at {path}")
        return paths

    return read


def user(value: object) -> str:
    """Read a user, `name` or `name:group`, by names or numbers; whether there is one is seen when it is wanted."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"[^\s:]+(:[^\s:]+)?", value):
        return value
    raise ValueError('expected a user of this machine, such as "fedenvoy-run" or "fedenvoy-run:data"')


def command_line(home: Path) -> Rule[tuple[str, ...]]:
    """Make a rule that takes a command as a list of words, the first of which is a program that can be run."""
    expected = 'expected a command as a list of words, such as ["mail", "-s", "waits", "me@example.org"]'

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(w, str) and "\0" not in w for w in value):
            raise ValueError(expected)
        name = value[0]
        program = shutil.which(str(home / Path(name)) if "/" in name else name)
        if program is None:
            raise ValueError(f"expected a program that can be run; there is none called {name[:60]!r}")
        return (program, *value[1:])

    return read


def web_address(value: object) -> str:
    """Read a URL of http or https."""
    if isinstance(value, str) and value.isprintable() and " " not in value:
        with contextlib.suppress(ValueError):
            parts = urlsplit(value)
            if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
                return value
    raise ValueError("expected a URL that begins with https:// or http://")


def addresses(value: object) -> tuple[str, ...]:
    """Read a list of URLs of http, https or file."""
    if isinstance(value, list):
        with contextlib.suppress(ValueError):
            return tuple(_file_or_web_address(entry) for entry in value)
    raise ValueError('expected a list of URLs, such as ["https://pypi.example.org/simple"]')


def _file_or_web_address(value: object) -> str:
    if isinstance(value, str) and value.startswith("file:///") and value.isprintable() and " " not in value:
        return value
    return web_address(value)


def unix_group(value: object) -> str:
    """Read the name of a group that this machine knows."""
    if isinstance(value, str):
        with contextlib.suppress(KeyError, ValueError):
            return grp.getgrnam(value).gr_name
    raise ValueError("expected the name of a group on this machine")


_KINDS = {"file": "a file", "directory": "a directory", "program": "a program that may be run"}


def _fits(path: Path, kind: str) -> bool:
    if kind == "directory":
        return path.is_dir()
    if kind == "program":
        return path.is_file() and os.access(path, os.X_OK)
    return not kind or path.is_file()


def _quantity(value: object, units: dict[str, float] | dict[str, int]) -> float | None:
    """Give a finite amount that is not negative, in the smallest unit; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value if 0 <= value < math.inf else None
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2].casefold() not in units:
        return None
    amount = float(match[1]) * units[match[2].casefold()]
    return amount if amount < math.inf else None
