"""Read the `agent:` section: strict, typed, every problem at once.

cattrs walks the classes of `fedenvoy.config`; the table below says how each value is read. Importing cattrs takes time
and memory, so this module is imported only for a file that has such a section.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
from cattrs import ClassValidationError, Converter
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from fedenvoy.config import (
    AgentSettings,
    ArchiveSettings,
    ChildSettings,
    FetchSettings,
    GpuRequirements,
    GpuSettings,
    HttpSettings,
    JournalSettings,
    LinkSettings,
    PollSettings,
    ReportSettings,
    RequirementsSettings,
    ReviewSettings,
    SandboxSettings,
)
from fedenvoy.configfile import rules
from fedenvoy.configfile.findings import nearest, shorten
from fedenvoy.configfile.listening import listener
from fedenvoy.configfile.names import inner_section, setting_names

if TYPE_CHECKING:
    from pathlib import Path

    from fedenvoy.configfile.findings import Findings

__all__ = ["read_agent"]

_CALLBACK = "; a callback is given in Python: Envoy(review_plan_callback=...)"


def _table(home: Path) -> Mapping[type, Mapping[str, rules.Rule[Any]]]:
    """Say how each setting is read, by class; what is not listed is a section."""
    return {
        AgentSettings: {
            "home": rules.file_path(home, kind="directory"),
            "state_dir": rules.file_path(home),
            "python": rules.file_path(home, kind="program"),
            "isolation": rules.choice("process", "sandbox", "user"),
            "run_as": rules.user,
            "on_stop": rules.choice("leave", "report"),
            "on_interrupted": rules.choice("resume", "fail"),
            "drain_timeout": rules.duration(0),
            "stop_timeout": rules.duration(0),
            "on_director_loss": rules.limit("continue", "stop_after", 1),
            "orphan_timeout": rules.duration(0),
            "aggregator_timeout": rules.duration(0),
            "max_run_time": rules.duration(0),
            "kill_grace": rules.duration(0),
        },
        LinkSettings: {
            "tries": rules.count(1),
            "call_timeout": rules.duration(0.1),
            "settle": rules.duration(0),
            "on_refused": rules.choice("retry", "exit"),
            "proxy": rules.boolean,
        },
        PollSettings: {"tries": rules.count(1), "timeout": rules.duration(1)},
        FetchSettings: {
            "tries": rules.count(1),
            "idle_timeout": rules.duration(0),
            "min_rate": rules.size,
            "timeout": rules.duration(0),
        },
        ArchiveSettings: {
            "max_bytes": rules.size,
            "max_unpacked_bytes": rules.size,
            "max_entries": rules.count(0),
            "max_ratio": rules.ratio,
            "max_file_bytes": rules.size,
            "max_path": rules.count(0),
            "max_depth": rules.count(0),
        },
        ReviewSettings: {
            "mode": rules.choice("accept", "prompt", "policy", "hold", hint=_CALLBACK),
            "policy": rules.file_path(home, kind="file"),
            "timeout": rules.duration(1),
            "required_approvals": rules.count(1),
            "notify": rules.command_line(home),
            "webhook": rules.web_address,
            "group": rules.unix_group,
            "keep": rules.size,
        },
        RequirementsSettings: {
            "site": rules.file_path(home, kind="file"),
            "inherit": rules.boolean,
            "mode": rules.choice("install", "hashes-required", "offline", "off"),
            "wheels": rules.file_path(home, kind="directory"),
            "indexes": rules.addresses,
            "timeout": rules.duration(1),
            "max_environment_bytes": rules.size,
            "keep": rules.duration(0),
            "max_bytes": rules.size,
        },
        ChildSettings: {
            "memory": rules.size_from(256 * 2**20, "256MiB"),
            "processes": rules.count_from(16),
            "open_files": rules.count_from(64),
            "workspace": rules.size_from(2**20, "1MiB"),
            "output": rules.size_from(64 * 2**10, "64KiB", never=True),
            "log_retention": rules.duration(0),
            "nice": rules.count(0, 19),
            "env": rules.variables,
        },
        SandboxSettings: {"read": rules.file_paths(home), "write": rules.file_paths(home)},
        GpuSettings: {
            "hide": rules.boolean,
            "interval": rules.duration(0.1),
            "deadline": rules.duration(0.1),
            "unfit": rules.choice("wait", "fail"),
            "lock_dir": rules.file_path(home, kind="directory"),
        },
        GpuRequirements: {
            "min_free_memory": rules.size,
            "max_temperature": rules.ratio,
            "no_ecc_errors": rules.boolean,
            "exclusive": rules.boolean,
        },
        ReportSettings: {
            "detail": rules.choice("full", "summary", "code"),
            "tries": rules.count(1),
            "retention": rules.duration(0),
        },
        JournalSettings: {"records": rules.count(0), "days": rules.count(0)},
        HttpSettings: {"listen": listener},
    }


def read_agent(
    section: Mapping[Any, Any], *, home: Path, found: Findings, origins: Mapping[str, str] = MappingProxyType({})
) -> AgentSettings:
    """Turn the section into settings; problems go into `found`, and the defaults come back in their place.

    A setting or section with nothing behind it keeps its default. Relative paths begin at `home`. `origins` says where
    each setting that does not stand in the file was given.
    """
    structure = _structurer(Converter(detailed_validation=True), AgentSettings, _table(home))
    try:
        settings: AgentSettings = structure(section)
    except ClassValidationError as error:
        for where, value, expected in _explain(error, "agent", section):
            found.problem(where, value, expected, source=origins.get(where, ""))
        return AgentSettings(home=home)
    return settings if section.get("home") is not None else attrs.evolve(settings, home=home)


def _structurer(
    converter: Converter, cls: Any, table: Mapping[type, Mapping[str, rules.Rule[Any]]]
) -> Callable[[object], Any]:
    overrides: dict[str, Any] = {}
    for attribute in attrs.fields(cls):
        inner = inner_section(attribute)
        read = table[cls][attribute.name] if inner is None else _structurer(converter, inner, table)
        overrides[attribute.name] = override(struct_hook=_unless_empty(attribute, read))
    build = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)

    def structure(value: object) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("expected a section with settings of its own")  # noqa: TRY004 - a rule's one error
        return build({str(key): part for key, part in value.items()}, cls)  # cattrs 23.1 cannot tell of other keys

    return structure


def _unless_empty(attribute: Any, read: Callable[[object], Any]) -> Callable[[Any, Any], Any]:
    def hook(value: object, _type: object) -> Any:
        if value is None:
            default = attribute.default
            return default.factory() if hasattr(default, "factory") else default
        return read(value)

    return hook


def _explain(error: BaseException, where: str, value: Any) -> Iterator[tuple[str, object, str]]:
    """Walk cattrs' tree of errors: give (setting, value, what was expected) for each leaf."""
    if isinstance(error, ClassValidationError):
        noted, others = error.group_exceptions()
        for inner, note in noted:
            yield from _explain(inner, f"{where}.{note.name}", _part(value, note.name))
        for inner in others:
            yield from _explain(inner, where, value)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield f"{where}.{shorten(key)}", _part(value, key), f"no such setting{_meant(key, where, error.cl)}"
    else:
        yield where, value, str(error)


def _part(section: Any, name: str) -> object:
    """Give what stands under a key, which YAML may have read as a number."""
    return next(part for key, part in section.items() if str(key) == name)


def _meant(key: str, where: str, cls: Any) -> str:
    """Name the setting that was probably meant: one of this name elsewhere, or one like it in this section."""
    elsewhere = [name for name in setting_names() if name.rpartition(".")[2] == key]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    names = [attribute.name for attribute in attrs.fields(cls)]
    return nearest(key, names) or f"; {where} has {', '.join(names)}"
