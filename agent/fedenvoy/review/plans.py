"""What a plan says, for rules: the values at its dotted paths, and the code that it has imported by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

__all__ = ["ABSENT", "CodeName", "code_names", "value_at"]

ABSENT: Any = object()
"""What `value_at` gives where there is nothing."""

_TEMPLATES = frozenset({"template", "entry"})
_COMPONENTS = "required_plugin_components"
_OWN_DEFAULTS = re.compile(r"plan/defaults/\w+\.yaml", re.ASCII)
_MOST = 100_000


@frozen
class CodeName:
    """A place of a plan that names code."""

    path: str
    """Where it stands, with dots."""
    name: Any
    """What stands there; text such as `module.Class`, if it is right."""


def value_at(plan: Any, path: str) -> Any:
    """Give what stands at a dotted path; a number counts items of a list from 0. `ABSENT` where there is nothing."""
    value = plan
    for part in path.split("."):
        if isinstance(value, Mapping):
            if part not in value:
                return ABSENT
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdecimal() and int(part[:9]) < len(value):
            value = value[int(part[:9])]
        else:
            return ABSENT
    return value


def code_names(plan: Mapping[str, Any]) -> list[CodeName]:
    """Give every place of a plan that makes its engine import code.

    These are all values of the keys `template` and `entry`, wherever they stand, all values below
    `required_plugin_components`, and every `defaults` other than OpenFL's own files, for it brings in more of a plan.
    """
    return list(_walk(plan))


def _walk(plan: Any) -> Iterator[CodeName]:
    waiting: list[tuple[str, Any, bool]] = [("", plan, False)]
    seen: set[tuple[int, bool]] = set()
    while waiting:
        path, value, components = waiting.pop()
        if isinstance(value, (Mapping, list)):
            if (id(value), components) in seen:  # the same thing again, by an alias
                continue
            seen.add((id(value), components))
            if len(seen) > _MOST:
                yield CodeName(path, None)
                return
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, part in items:
                where = f"{path}.{key}" if path else str(key)
                if isinstance(value, Mapping) and key in _TEMPLATES:
                    yield CodeName(where, part)
                elif isinstance(value, Mapping) and key == "defaults" and not _is_own(part):
                    yield CodeName(where, None)
                else:
                    waiting.append((where, part, components or key == _COMPONENTS))
        elif components:
            yield CodeName(path, value)


def _is_own(defaults: object) -> bool:
    return isinstance(defaults, str) and _OWN_DEFAULTS.fullmatch(defaults) is not None
