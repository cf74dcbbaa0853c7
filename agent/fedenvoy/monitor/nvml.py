"""GPU readings from NVIDIA's own library, through nvidia-ml-py; the only module that imports `pynvml`.

It reports what the library says, errors included: what an unreadable value becomes is decided in `reader`.
"""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["NvmlProbe"]

_log = logging.getLogger(__name__)

_DISTRIBUTIONS = ("nvidia-ml-py", "pynvml")
_SAYS_NOTHING_OF_THE_HANDLE = frozenset({"NVMLError_NotSupported", "NVMLError_NoPermission"})


class NvmlProbe:
    """A `GpuProbe` over NVML. The library is initialised here once, and shut down by `close`.

    Args:
        nvml: The binding; None imports `pynvml`.

    Raises:
        pynvml.NVMLError: The library is missing or cannot talk to the driver. All methods raise it, too.

    """

    def __init__(self, nvml: Any = None) -> None:
        self._nvml = _binding() if nvml is None else nvml
        self._handles: dict[int | str, Any] = {}
        self._nvml.nvmlInit()
        self._open = True

    def close(self) -> None:
        """Shut the library down; harmless when repeated."""
        if not self._open:
            return
        self._open = False
        self._handles.clear()
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            _log.debug("NVML could not be shut down: %s", error)

    def get_driver_version(self) -> str:
        """Give the driver's version, for example "550.54.15"."""
        return _text(self._nvml.nvmlSystemGetDriverVersion())

    def get_cuda_version(self) -> str:
        """Give the highest CUDA version that the driver supports, for example "12.4"."""
        major, rest = divmod(int(self._nvml.nvmlSystemGetCudaDriverVersion()), 1000)
        return f"{major}.{rest // 10}"

    def get_device_name(self, index: int | str) -> str:
        """Give the product name, for example "NVIDIA A100-SXM4-40GB"."""
        return _text(self._ask(self._nvml.nvmlDeviceGetName, index))

    def get_device_memory_total(self, index: int | str) -> int:
        """Give the size of the memory in bytes."""
        return int(self._ask(self._nvml.nvmlDeviceGetMemoryInfo, index).total)

    def get_device_memory_utilized(self, index: int | str) -> int:
        """Give the bytes in use."""
        return int(self._ask(self._nvml.nvmlDeviceGetMemoryInfo, index).used)

    def get_device_utilization(self, index: int | str) -> str:
        """Give the share of the last moments in which a kernel ran, for example "37%"."""
        return f"{int(self._ask(self._nvml.nvmlDeviceGetUtilizationRates, index).gpu)}%"

    def _ask(self, query: Any, device: int | str) -> Any:
        try:
            return query(self._handle(device))
        except self._nvml.NVMLError as error:
            if type(error).__name__ not in _SAYS_NOTHING_OF_THE_HANDLE:
                self._handles.pop(device, None)
            raise

    def _handle(self, device: int | str) -> Any:
        """Look a device up by its number, or by its UUID (also a MIG instance's), and remember it."""
        if device not in self._handles:
            if isinstance(device, str) and not device.strip().isdecimal():
                self._handles[device] = self._nvml.nvmlDeviceGetHandleByUUID(device.strip())
            else:
                self._handles[device] = self._nvml.nvmlDeviceGetHandleByIndex(int(device))
        return self._handles[device]


def _text(value: str | bytes) -> str:
    """Accept what the older bindings give, too: bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


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
