"""Read the sections that OpenFL's `envoy_config.yaml` has, with OpenFL's meaning: a key that is lost makes a warning.

Keys count in any case, as for OpenFL. It knows nothing of our own `agent:` section.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from fedenvoy.config import PluginSource, ShardSource
from fedenvoy.configfile import rules
from fedenvoy.configfile.findings import nearest, shorten

if TYPE_CHECKING:
    from fedenvoy.configfile.findings import Findings

__all__ = ["Params", "read_certificates", "read_monitor", "read_params", "read_shard", "section", "split"]

CERTIFICATES = ("root_certificate", "private_key", "certificate")
_MONITOR = "cuda_device_monitor"
_OPENFL_MONITOR = "openfl.plugins.processing_units_monitor.pynvml_monitor.PynvmlCUDADeviceMonitor"
_PARAMS = ("install_requirements", "cuda_devices", "review_experiment")


@frozen
class Params:
    """The `params:` section."""

    install_requirements: bool = True
    cuda_devices: tuple[int | str, ...] = ()
    review_experiment: bool = False


def section(value: object, name: str, found: Findings) -> Mapping[Any, Any]:
    """Give a section; an empty one, also one written `[]`, is empty."""
    if isinstance(value, Mapping):
        return value
    if value not in (None, [], ""):
        found.problem(name, value, "expected a section with settings of its own")
    return {}


def split(mapping: Mapping[Any, Any], known: tuple[str, ...], where: str, found: Findings) -> dict[str, Any]:
    """Give the known settings of a section under their own spelling; warn about every other."""
    result: dict[str, Any] = {}
    prefix = f"{where}." if where else ""
    for key, value in mapping.items():
        name = str(key).casefold()
        if name not in known:
            found.warn(f"{prefix}{shorten(key)} is ignored: no such setting{nearest(key, known)}")
        elif name in result:
            found.problem(f"{prefix}{key}", value, f"expected once, but {name} stands twice in different spelling")
        else:
            result[name] = value
    return result


def read_params(value: object, found: Findings) -> Params:
    """Read `params:`."""
    given = split(section(value, "params", found), _PARAMS, "params", found)
    return Params(
        install_requirements=_boolean(given, "install_requirements", found, default=True),
        cuda_devices=_devices(given.get("cuda_devices"), found),
        review_experiment=_boolean(given, "review_experiment", found, default=False),
    )


def read_shard(value: object, found: Findings) -> ShardSource:
    """Read `shard_descriptor:`; its template is the one setting without which no node can start."""
    before = len(found.problems)
    given = split(section(value, "shard_descriptor", found), ("template", "params"), "shard_descriptor", found)
    if len(found.problems) > before:
        return ShardSource("")
    template = _template(given.get("template"), "shard_descriptor.template", "shard_descriptor.MyShard", found)
    return ShardSource(template, _arguments(given.get("params"), "shard_descriptor.params", found))


def read_monitor(value: object, found: Findings) -> PluginSource | None:
    """Read `optional_plugin_components:`; None for our own monitor, which also stands in for OpenFL's."""
    plugins = split(
        section(value, "optional_plugin_components", found), (_MONITOR,), "optional_plugin_components", found
    )
    if plugins.get(_MONITOR) is None:
        return None
    where = f"optional_plugin_components.{_MONITOR}"
    given = split(section(plugins[_MONITOR], where, found), ("template", "params", "settings"), where, found)
    if given.get("settings"):
        found.warn(f"{where}.settings is ignored, as OpenFL does: the constructor's arguments go into {where}.params")
    template = _template(given.get("template"), f"{where}.template", "my_monitor.Monitor", found)
    params = _arguments(given.get("params"), f"{where}.params", found)
    return None if template == _OPENFL_MONITOR else PluginSource(template, params)


def read_certificates(document: Mapping[str, Any], found: Findings) -> dict[str, str]:
    """Give the certificate paths that stand in the file."""
    result: dict[str, str] = {}
    for name in CERTIFICATES:
        value = document.get(name)
        if isinstance(value, str) and value:
            result[name] = value
        elif value not in (None, ""):
            found.problem(name, value, "expected the path of a PEM file")
    return result


def _boolean(given: Mapping[str, Any], name: str, found: Findings, *, default: bool) -> bool:
    value = given.get(name)
    if value is None:
        return default
    if type(value) is int and value in (0, 1):
        return bool(value)
    try:
        answer = rules.boolean(value)
    except ValueError as error:
        found.problem(f"params.{name}", value, str(error))
        return default
    if isinstance(value, str) and not answer:
        found.warn(f"params.{name}: {value} is taken as false; OpenFL takes it as text, and so as true: write false")
    return answer


def _devices(value: object, found: Findings) -> tuple[int | str, ...]:
    expected = 'expected a list of GPU numbers or UUIDs, such as [0, 1] or ["GPU-8a56..."]'
    if value is None:
        return ()
    if not isinstance(value, list):
        found.problem("params.cuda_devices", value, expected)
        return ()
    devices: list[int | str] = []
    for index, item in enumerate(value):
        device = int(item) if isinstance(item, str) and item.isascii() and item.isdigit() else item
        number = isinstance(device, int) and not isinstance(device, bool) and device >= 0
        if not number and not (isinstance(device, str) and device.strip()):
            found.problem(f"params.cuda_devices[{index}]", item, expected)
        elif device in devices:
            found.problem(f"params.cuda_devices[{index}]", item, "expected each GPU once")
        else:
            devices.append(device)
    return tuple(devices)


def _template(value: object, where: str, example: str, found: Findings) -> str:
    expected = f"expected a module and a class, such as {example}"
    if value is None or value == "":
        found.missing(where, expected)
        return ""
    parts = value.split(".") if isinstance(value, str) else []
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        found.problem(where, value, expected)
        return ""
    return str(value)


def _arguments(value: object, where: str, found: Findings) -> dict[str, Any]:
    arguments = section(value, where, found)
    for key in arguments:
        if not isinstance(key, str):
            found.problem(where, key, "expected names of the constructor's arguments as keys")
    return {str(key): argument for key, argument in arguments.items()}
