"""Warn about what OpenFL would also have read: dynaconf's environment variables, its local file and its `@` words.

None of it is honoured here, because what a node does should be readable in one file. This module only looks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
    _look_inside(document, "", set(), found)


def _look_inside(value: object, where: str, seen: set[int], found: Findings) -> None:
    """Walk the document, each shared part once: aliases can make it exponentially large, or endless."""
    if isinstance(value, str):
        if _WORD.match(value):
            found.warn(f"{where}: {value!r} is taken as it stands; OpenFL would evaluate it: write the value itself")
        return
    if id(value) in seen:
        return
    if isinstance(value, Mapping):
        seen.add(id(value))
        for key, part in value.items():
            _look_inside(part, f"{where}.{key}" if where else str(key), seen, found)
    elif isinstance(value, list):
        seen.add(id(value))
        for index, part in enumerate(value):
            _look_inside(part, f"{where}[{index}]", seen, found)
