"""Warn about what OpenFL would also have read: dynaconf's environment variables, its local file and its `@` words.

None of it is honoured here, because what a node does should be readable in one file. This module only looks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fedenvoy.configfile.findings import shorten, show

if TYPE_CHECKING:
    from pathlib import Path

    from fedenvoy.configfile.findings import Findings

__all__ = ["look_around"]

_WORD = re.compile(
    r"@(?:str|int|float|bool|json|format|jinja|reset|del|merge|merge_unique|get|note|comment|null|none|empty|path)\b"
)


def look_around(path: Path, document: Mapping[Any, Any], found: Findings) -> None:
    """Warn about each thing beside the file, and each word in it, that OpenFL honours and this agent does not."""
    names = sorted(name for name in os.environ if name.startswith("DYNACONF_") or name.endswith("_FOR_DYNACONF"))
    if names:
        found.warn(f"the environment holds {', '.join(names)}, which OpenFL honours and fedenvoy does not")
    local = path.with_name(f"{path.stem}.local{path.suffix}")
    if local.exists():
        found.warn(f"{local.name} beside it, which OpenFL merges into it, is not read; fedenvoy reads one file")
    for where, text in _texts(document):
        if _WORD.match(text):
            found.warn(f"{where}: {show(text)} is taken as it stands; OpenFL would evaluate it: write the value itself")


def _texts(document: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Give every text in a document with its place, each shared part once: aliases can make a document endless."""
    waiting: list[tuple[str, object]] = [("", document)]
    seen: set[int] = set()
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, str):
            yield where, value
        elif isinstance(value, (Mapping, list)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(reversed(list(_parts(where, value))))


def _parts(where: str, value: Mapping[Any, Any] | list[Any]) -> Iterator[tuple[str, object]]:
    if isinstance(value, list):
        return ((f"{where}[{index}]", part) for index, part in enumerate(value))
    return ((f"{where}.{shorten(key)}" if where else shorten(key), part) for key, part in value.items())
