"""GPU readings from NVIDIA's own library, through nvidia-ml-py; the only module that imports `pynvml`.

It reports what the library says, errors included: what an unreadable value becomes is decided in `reader`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from fedenvoy.monitor.handles import Handles
from fedenvoy.monitor.trouble import Trouble, trouble
from fedenvoy.monitor.vitals import Events, Question, first, memory, percent, questions, text

__all__ = ["NvmlProbe"]

_log = logging.getLogger(__name__)

_DISTRIBUTIONS = ("nvidia-ml-py", "pynvml")
_SAYS_NOTHING_OF_THE_HANDLE = frozenset({Trouble.UNSUPPORTED, Trouble.DENIED})


class NvmlProbe:
    """A `GpuProbe` over NVML. The library is initialised here once, and shut down by `close`.

    Args:
        nvml: The binding; None imports `pynvml`.
        pins: Which cards the configured numbers mean, from an earlier probe; kept up to date (see `handles`).

    Raises:
        pynvml.NVMLError: The library is missing or cannot talk to the driver. All methods raise it, too.

    """

    def __init__(self, nvml: Any = None, pins: dict[int | str, str] | None = None) -> None:
        self._nvml = _binding() if nvml is None else nvml
        self._handles = Handles(self._nvml, {} if pins is None else pins)
        self._events = Events(self._nvml)
        self._nvml.nvmlInit()
        self._open = True

    def close(self) -> None:
        """Shut the library down; harmless when repeated."""
        if not self._open:
            return
        self._open = False
        self._events.close()
        self._handles.clear()
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            _log.debug("NVML could not be shut down: %s", error)

    def get_driver_version(self) -> str:
        """Give the driver's version, for example "550.54.15"."""
        return text(self._nvml.nvmlSystemGetDriverVersion)

    def get_cuda_version(self) -> str:
        """Give the highest CUDA version that the driver supports, for example "12.4"."""
        names = ("nvmlSystemGetCudaDriverVersion", "nvmlSystemGetCudaDriverVersion_v2")
        version = first(*(lambda name=name: getattr(self._nvml, name)() for name in names))
        major, rest = divmod(int(version), 1000)
        return f"{major}.{rest // 10}"

    def get_device_name(self, index: int | str) -> str:
        """Give the product name, for example "NVIDIA A100-SXM4-40GB"."""
        return str(self._ask(index, lambda: text(self._nvml.nvmlDeviceGetName, self._handles.of(index))))

    def get_device_memory_total(self, index: int | str) -> int:
        """Give the size of the memory in bytes."""
        return int(self._ask(index, lambda: memory(self._nvml, self._handles.of(index))).total)

    def get_device_memory_utilized(self, index: int | str) -> int:
        """Give the bytes in use."""
        return int(self._ask(index, lambda: memory(self._nvml, self._handles.of(index))).used)

    def get_device_utilization(self, index: int | str) -> str:
        """Give the share of the last moments in which a kernel ran, for example "37%"."""
        return f"{self._ask(index, lambda: percent(self._nvml, self._handles.of(index)))}%"

    def vitals(self, index: int | str) -> Iterator[tuple[str, Question]]:
        """Give the question for each further field of a device, by the field's name in `DeviceState`."""
        for name, question in questions(self._nvml, self._handles, self._events, index):
            yield name, lambda question=question: self._ask(index, question)  # type: ignore[misc]

    def _ask(self, device: int | str, question: Question) -> Any:
        try:
            return question()
        except self._nvml.NVMLError as error:
            if trouble(error) not in _SAYS_NOTHING_OF_THE_HANDLE:
                self._handles.drop(device)
            raise


def _binding() -> Any:
    import pynvml  # noqa: PLC0415 - a node without GPUs never loads it

    # The abandoned `pynvml` distribution installs the same module name and may shadow the official one.
    found = [f"{name} {version}" for name in _DISTRIBUTIONS if (version := _version(name))]
    _log.info("GPU readings come from %s (%s)", pynvml.__name__, ", ".join(found) or "of unknown origin")
    return pynvml


def _version(distribution: str) -> str:
    import importlib.metadata  # noqa: PLC0415 - brings e-mail with it, and most nodes never ask

    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
