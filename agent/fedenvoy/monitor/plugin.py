"""The site's own GPU monitor, loaded by its dotted path as OpenFL's configuration names it.

The class is trusted as the rest of the site's code is, and runs in the agent's process; what it does there wrong is
caught by the sampler, whose thread is the only one that calls it.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from fedenvoy.config import PluginSource
from fedenvoy.errors import ConfigurationError
from fedenvoy.logs import words
from fedenvoy.monitor.nvml import NvmlProbe
from fedenvoy.ports import GpuProbe

__all__ = ["load_probe", "probe_factory"]

_log = logging.getLogger(__name__)

_ALIASES = frozenset({"openfl.plugins.processing_units_monitor.pynvml_monitor.PynvmlCUDADeviceMonitor"})
"""Monitors that are replaced by our own: OpenFL's starts NVML when it is imported, so it fails where there is none."""

_METHODS = (
    "get_driver_version",
    "get_cuda_version",
    "get_device_name",
    "get_device_memory_total",
    "get_device_memory_utilized",
    "get_device_utilization",
)


def probe_factory(source: PluginSource | object | None, home: Path) -> Callable[[], GpuProbe]:
    """Give what opens the probe; a template that names nothing usable is told here, before anything starts.

    A monitor that exists and fails (no driver, a bug) is not an error here: it may work later.

    Args:
        source: A plugin's source, a live monitor (an instance or its class), or None for our own.
        home: First import path of the plugin.

    Raises:
        ConfigurationError: The template is not a dotted path, or there is no such module or class.

    """
    if source is None or (isinstance(source, PluginSource) and source.template in _ALIASES):
        pins: dict[int | str, str] = {}  # one card for each number, however often the library is opened
        return lambda: NvmlProbe(pins=pins)
    if isinstance(source, PluginSource):
        try:
            _find(source, home)
        except ConfigurationError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - monitoring never gates the start
            _log.warning("cuda_device_monitor %r cannot be imported now: %s", source.template, words(error))
    return lambda: load_probe(source, home)


def load_probe(source: PluginSource | object, home: Path) -> GpuProbe:
    """Construct the site's GPU monitor.

    Args:
        source: A plugin's source, or a live monitor: an instance (which is never closed) or its class.
        home: First import path of the plugin while it is loaded, and the last one from then on.

    Raises:
        ConfigurationError: The template names nothing usable, or `params` do not fit its constructor.
        Exception: Whatever importing or constructing the monitor raises.

    """
    if not isinstance(source, PluginSource):
        return cast("GpuProbe", source() if isinstance(source, type) else _Lent(source))
    if source.template in _ALIASES:
        return NvmlProbe()
    monitor = _find(source, home)
    with _importing_from(home):
        try:
            inspect.signature(monitor).bind(**source.params)
        except TypeError as error:
            raise ConfigurationError(
                f"cuda_device_monitor: params {sorted(source.params)} do not fit {source.template}: {error}"
            ) from error
        except ValueError:  # a constructor without a readable signature is simply called
            pass
        return cast("GpuProbe", monitor(**source.params))


def _find(source: PluginSource, home: Path) -> Callable[..., Any]:
    """Import the class that a template names."""
    template = source.template
    module_name, _, name = template.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in template.split(".")):
        raise ConfigurationError(
            f"cuda_device_monitor: template {template!r} is not a dotted path to a class, such as module.Class"
        )
    with _importing_from(home):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            raise ConfigurationError(
                f"cuda_device_monitor: there is no module {error.name!r} in {home} or among the installed packages; "
                f"correct the template {template!r}"
            ) from error
    monitor = getattr(module, name, None)
    if not callable(monitor) or not any(hasattr(monitor, method) for method in _METHODS):
        near = difflib.get_close_matches(name, vars(module), n=1) if monitor is None else ()
        what = "has no class" if monitor is None else "has something else than a GPU monitor class in"
        hint = f"; did you mean {near[0]!r}?" if near else f"; expected a class with {_METHODS[0]} and the like"
        raise ConfigurationError(f"cuda_device_monitor: module {module_name!r} {what} {name!r}{hint}")
    return cast("Callable[..., Any]", monitor)


@contextlib.contextmanager
def _importing_from(home: Path) -> Iterator[None]:
    """Put `home` first on the import path; afterwards last, where a file in it can shadow nothing of the agent's."""
    entry = str(home)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
        if entry not in sys.path:
            sys.path.append(entry)


class _Lent:
    """A live monitor that somebody else owns: it is asked, never closed."""

    def __init__(self, monitor: object) -> None:
        self._monitor = monitor

    def __getattr__(self, name: str) -> Any:
        if name == "close":
            raise AttributeError(name)
        return getattr(self._monitor, name)
