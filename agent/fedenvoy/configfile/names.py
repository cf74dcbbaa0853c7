"""The names of the settings in the `agent:` section: dotted, and as environment variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from fedenvoy.config import PREFIX, AgentSettings

__all__ = ["inner_section", "named", "setting_names", "variable_name"]


def setting_names(cls: Any = AgentSettings, prefix: str = "agent") -> Iterator[str]:
    """Give the dotted name of every setting."""
    for attribute in attrs.fields(cls):
        inner = inner_section(attribute)
        name = f"{prefix}.{attribute.name}"
        yield from (name,) if inner is None else setting_names(inner, name)


def named(section: Mapping[Any, Any], prefix: str = "agent") -> Iterator[str]:
    """Give the dotted names of what a section as YAML gave it holds, empty values left out."""
    for key, value in section.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            yield from named(value, name)
        elif value is not None:
            yield name


def inner_section(attribute: Any) -> Any:
    """Give the class of an attribute that is a section of its own, else None."""
    factory = getattr(attribute.default, "factory", None)
    return factory if isinstance(factory, type) and attrs.has(factory) else None


def variable_name(setting: str) -> str:
    """Give the environment variable of a setting."""
    return PREFIX + setting.removeprefix("agent.").replace(".", "_").upper()
