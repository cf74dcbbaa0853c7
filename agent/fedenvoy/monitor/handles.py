"""From a device as the site names it to the library's handle: by number, UUID or PCI bus id.

Numbers are positions on the bus, and move when a card falls off it. So the first card that a number led to is the one
it means for as long as the agent lives: another one is never taken for it.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from fedenvoy.monitor.trouble import Trouble, trouble

__all__ = ["Handles", "is_bus_id"]

_BUS_ID = re.compile(r"(?:[0-9a-f]{4}(?:[0-9a-f]{4})?:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)
_LOST = 15
"""NVML_ERROR_GPU_IS_LOST"""
_SHORTEST = 8
"""Characters that a UUID must have to be looked for by its beginning."""


def is_bus_id(device: int | str) -> bool:
    """Whether a device is named by its place on the PCI bus, for example "0000:65:00.0"."""
    return isinstance(device, str) and _BUS_ID.fullmatch(device.strip()) is not None


class Handles:
    """Look devices up, and remember their handles until the library is closed.

    Args:
        nvml: The binding.
        pins: UUIDs of the cards that numbers led to before; kept up to date here, so that a later library has them.

    """

    def __init__(self, nvml: Any, pins: dict[int | str, str]) -> None:
        self._nvml = nvml
        self._pins = pins
        self._known: dict[int | str, Any] = {}
        self._parents: dict[int | str, Any] = {}

    def clear(self) -> None:
        """Forget all handles: they are worth nothing once the library is shut down."""
        self._known.clear()
        self._parents.clear()

    def drop(self, device: int | str) -> None:
        """Forget one device's handles."""
        self._known.pop(device, None)
        self._parents.pop(device, None)

    def of(self, device: int | str) -> Any:
        """Give the handle.

        Raises:
            pynvml.NVMLError: There is no such device, or it is not the one that it was.

        """
        if device not in self._known:
            self._known[device] = self._find(device)
        return self._known[device]

    def physical(self, device: int | str) -> Any:
        """Give the handle of the whole card: a MIG instance has no temperature, power or clock of its own."""
        if device not in self._parents:
            handle = self.of(device)
            self._parents[device] = self._parent(handle) if self._is_mig(handle) else handle
        return self._parents[device]

    def parent(self, device: int | str) -> Any | None:
        """Give the handle of the card that a MIG instance is a part of; None for a whole card."""
        physical = self.physical(device)
        return None if physical is self._known.get(device) else physical

    def _find(self, device: int | str) -> Any:
        text = str(device).strip()
        if not text.isdecimal() and not isinstance(device, int):
            return self._by_bus_id(text) if is_bus_id(text) else self._by_uuid(text)
        pinned = self._pins.get(device)
        if pinned is None:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(int(device))
            with contextlib.suppress(Exception):  # what cannot be told apart is not pinned
                self._pins[device] = str(self._nvml.nvmlDeviceGetUUID(handle))
            return handle
        try:
            return self._nvml.nvmlDeviceGetHandleByUUID(pinned)
        except self._nvml.NVMLError as error:
            if trouble(error) in {Trouble.BROKEN, Trouble.LOST, Trouble.DENIED}:
                raise
            raise self._nvml.NVMLError(_LOST) from error

    def _by_bus_id(self, text: str) -> Any:
        return self._nvml.nvmlDeviceGetHandleByPciBusId(text)

    def _by_uuid(self, text: str) -> Any:
        """Look up a UUID; one that is cut short, as CUDA_VISIBLE_DEVICES takes it, if it fits a single card."""
        try:
            return self._nvml.nvmlDeviceGetHandleByUUID(text)
        except self._nvml.NVMLError as error:
            if len(text) < _SHORTEST or trouble(error) is not Trouble.OTHER:
                raise
            fitting = self._beginning_with(text)
            if len(fitting) != 1:
                raise
            return fitting[0]

    def _beginning_with(self, text: str) -> list[Any]:
        found = []
        with contextlib.suppress(Exception):  # then the first answer, that there is no such card, is the one to tell
            for index in range(self._nvml.nvmlDeviceGetCount()):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                if str(self._nvml.nvmlDeviceGetUUID(handle)).startswith(text):
                    found.append(handle)
        return found

    def _is_mig(self, handle: Any) -> bool:
        with contextlib.suppress(Exception):  # older drivers have no MIG
            answer = self._nvml.nvmlDeviceIsMigDeviceHandle(handle)
            return bool(getattr(answer, "value", answer))
        return False

    def _parent(self, handle: Any) -> Any:
        return self._nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
