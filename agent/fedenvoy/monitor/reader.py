"""One poll of all GPUs: every field by itself, so that one that cannot be read costs no other.

It knows no vendor library and keeps no thread: `DeviceReader.read` asks a probe and returns. Whatever the probe gives
or raises, there is exactly one reading per device, in order, and every one of them fits the wire.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fedenvoy.events import DeviceReading
from fedenvoy.logs import bounded, escape, words
from fedenvoy.ports import GpuProbe

__all__ = ["DeviceReader", "Sample", "device_number"]

_log = logging.getLogger(__name__)

_UINT64_MAX = 2**64 - 1
_TEXT_LIMIT = 200

T = TypeVar("T")


def device_number(device: int | str, position: int) -> int:
    """Give a device's number on the wire: its own where it has one; for a UUID, its position among those registered."""
    try:
        return _count(device)
    except ValueError:
        return position


@dataclass(frozen=True, slots=True)
class Sample:
    """What one poll brought.

    Attributes:
        readings: One per device, in order; unknown fields are zero or empty.
        error: The first error when not a single field could be read; None otherwise.

    """

    readings: tuple[DeviceReading, ...]
    error: BaseException | None = None


class DeviceReader:
    """Poll a fixed list of devices.

    Args:
        devices: Numbers or UUIDs, as configured and registered.

    """

    def __init__(self, devices: Sequence[int | str]) -> None:
        self._devices = [(device, device_number(device, position)) for position, device in enumerate(devices)]
        self._told: set[tuple[str, str]] = set()

    def unknown(self) -> tuple[DeviceReading, ...]:
        """Give the readings of which nothing but the number is known."""
        return tuple(DeviceReading(index=number) for _, number in self._devices)

    def read(self, probe: GpuProbe) -> Sample:
        """Ask for every field of every device; never raises."""
        poll = _Poll()
        driver = poll.field(("the driver", "version"), _text, "", lambda: probe.get_driver_version())  # noqa: PLW0108 - a probe may lack it
        cuda = poll.field(("the driver", "CUDA version"), _text, "", lambda: probe.get_cuda_version())  # noqa: PLW0108 - likewise
        readings = tuple(
            replace(self._device(poll, probe, device, number), cuda_driver_version=driver, cuda_version=cuda)
            for device, number in self._devices
        )
        if not poll.answers:
            return Sample(self.unknown(), next(iter(poll.failures.values()), None))
        self._tell(poll)
        return Sample(readings)

    def _device(self, poll: _Poll, probe: GpuProbe, device: int | str, number: int) -> DeviceReading:
        who = f"device {device!r}"
        total = poll.field((who, "memory size"), _count, 0, lambda: probe.get_device_memory_total(device))
        used = poll.field((who, "used memory"), _count, 0, lambda: probe.get_device_memory_utilized(device))
        return DeviceReading(
            index=number,
            memory_total=total,
            memory_utilized=min(used, total),
            device_utilization=poll.field((who, "load"), _text, "", lambda: probe.get_device_utilization(device)),
            name=poll.field((who, "name"), _text, "", lambda: probe.get_device_name(device)),
        )

    def _tell(self, poll: _Poll) -> None:
        """Name each unreadable field once; many GPUs never have some of them (MIG, unified memory)."""
        for key, error in poll.failures.items():
            if key not in self._told:
                self._told.add(key)
                _log.warning("GPU monitor: the %s of %s is unknown: %s", key[1], key[0], words(error))


class _Poll:
    """What was asked in one poll."""

    def __init__(self) -> None:
        self.answers = 0
        self.failures: dict[tuple[str, str], BaseException] = {}

    def field(self, key: tuple[str, str], convert: Callable[[Any], T], unknown: T, ask: Callable[[], Any]) -> T:
        """Ask for one field; `unknown` when that fails in any way, a method that the probe lacks included."""
        try:
            value = convert(ask())
        except BaseException as error:  # noqa: BLE001 - a site's own monitor may raise anything, SystemExit included
            self.failures[key] = error
            return unknown
        self.answers += 1
        return value


def _count(value: Any) -> int:
    """Give bytes that fit an unsigned 64-bit field; drivers have reported less and more than that."""
    return min(max(int(value), 0), _UINT64_MAX)


def _text(value: Any) -> str:
    """Give printable text of bounded length."""
    if value is None:
        raise TypeError("expected a text, got None")
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return bounded(escape(text.strip("\0 \r\n\t")), _TEXT_LIMIT)
