"""Read a YAML file as OpenFL's own reader understands it, and say in one sentence why it cannot be read.

OpenFL reads YAML 1.2 (through dynaconf): `no` and `on` are text, `010` is ten, `12:30` is text, `1e3` is a number.
PyYAML alone would read YAML 1.1 and hand a shard descriptor other values than OpenFL does. Settings are not known here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from fedenvoy.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["parse_mapping", "parse_value", "read_mapping"]

_LIMIT = 2**20
_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)",
    "float": r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+
                 |\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)""",
}
_FIRST = {"bool": "tTfF", "int": "-+0123456789", "float": "-+0123456789."}
_KEPT = {f"{_TAG}null", f"{_TAG}merge", f"{_TAG}timestamp"}


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Give the patterns by which plain text is more than text, by first character: YAML 1.2's where they differ."""
    found: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items():
        found[first] = [entry for entry in entries if entry[0] in _KEPT]
    for name, pattern in _SCALARS.items():
        compiled = re.compile(rf"^(?:{pattern})$", re.ASCII | re.VERBOSE)
        for first in _FIRST[name]:
            found.setdefault(first, []).append((_TAG + name, compiled))
    return found


def _construct_int(loader: yaml.SafeLoader, node: Any) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(text.lstrip("+-")[:2].lower(), 10)
    return int(text, base)


def _construct_float(loader: yaml.SafeLoader, node: Any) -> float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's scalars; a key that stands twice is refused, as OpenFL's reader does."""

    yaml_implicit_resolvers = _resolvers()
    yaml_constructors = {  # noqa: RUF012 - the base class declares it so
        **yaml.SafeLoader.yaml_constructors,
        f"{_TAG}int": _construct_int,
        f"{_TAG}float": _construct_float,
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse doubled keys here: later, merge keys (`<<`) have been spread over the mapping."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name = (key.tag, key.value)
                if name in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                    )
                seen.add(name)
        return node


def read_mapping(path: Path, source: str) -> dict[Any, Any]:
    """Read the file's one document, a mapping; an empty file is an empty mapping.

    Args:
        path: The file.
        source: How the user named it, for the sentences.

    Raises:
        ConfigurationError: The file cannot be read, or is not a YAML mapping; line and column are told.

    """
    return parse_mapping(_text(path, source), source)


def parse_mapping(text: str, source: str, sections: str = "sections such as `shard_descriptor:`") -> dict[Any, Any]:
    """Read the text of a file as `read_mapping` does.

    Args:
        text: Its content.
        source: How the user named it, for the sentences.
        sections: What was expected, for the sentence where it holds something else.

    Raises:
        ConfigurationError: It is not a YAML mapping.

    """
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        raise ConfigurationError(f"{source}: {_place(error)}not valid YAML: {_reason(error)}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigurationError(f"{source}: character {error.position + 1}: not valid YAML: {error.reason}") from None
    except RecursionError:
        raise ConfigurationError(f"{source}: not usable: sections are nested too deeply") from None
    except (ValueError, TypeError, OverflowError, yaml.YAMLError) as error:  # a date or number that cannot be
        raise ConfigurationError(f"{source}: not valid YAML: a value cannot be read ({error})") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"{source}: expected {sections}, but the file holds a "
            f"{'list' if isinstance(document, list) else 'single value'}"
        )
    return document


def parse_value(text: str) -> object:
    """Read one value as a file would hold it; what is no YAML is taken as it stands."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - as above
    except (ValueError, TypeError, OverflowError, RecursionError, yaml.YAMLError):
        return text


def _text(path: Path, source: str) -> str:
    hint = "write one with `fedenvoy init`, or name it with -ec"
    try:
        if path.is_dir():
            raise ConfigurationError(f"{source}: expected a file, but this is a directory; {hint}")
        if not path.exists():
            raise ConfigurationError(f"{source}: no such file; {hint}")
        if not path.is_file():
            raise ConfigurationError(f"{source}: expected a regular file; {hint}")
        if path.stat().st_size > _LIMIT:
            raise ConfigurationError(f"{source}: expected a configuration, but the file is larger than 1 MiB")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{source}: expected UTF-8 text, but byte {error.start + 1} is not") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{source}: cannot be read: {reason}") from None


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _reason(error: yaml.MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part)
