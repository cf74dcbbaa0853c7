"""One poll of all GPUs: every field by itself, so that one that cannot be read costs no other.

It knows no vendor library and keeps no thread: `DeviceReader.read` asks a probe and returns. Whatever the probe gives
or raises, there is exactly one reading per device, in order, and every one of them fits the wire.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fedenvoy.devices import DeviceState
from fedenvoy.events import DeviceReading
from fedenvoy.logs import bounded, escape, words
from fedenvoy.monitor.trouble import Trouble, trouble
from fedenvoy.monitor.vitals import VITALS
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
        states: One per device, in order; unknown fields are None, zero or empty.
        error: Why the sample is worth nothing: not a single field could be read, or the library must be opened anew.
            None otherwise.
        lost: Whether a device is gone while the library answers; opening it anew may find the device again.

    """

    states: tuple[DeviceState, ...]
    error: BaseException | None = None
    lost: bool = False

    @property
    def readings(self) -> tuple[DeviceReading, ...]:
        """What of it is sent to the director."""
        return tuple(state.reading for state in self.states)


class DeviceReader:
    """Poll a fixed list of devices.

    Args:
        devices: Numbers, UUIDs or PCI bus ids, as configured and registered.

    """

    def __init__(self, devices: Sequence[int | str]) -> None:
        self._devices = [(device, device_number(device, position)) for position, device in enumerate(devices)]
        self._told: set[tuple[str, str]] = set()
        self._identities: dict[int | str, DeviceState] = {}
        self.asking = ""
        """What is being asked for at this moment, for people; empty between polls."""

    def unknown(self) -> tuple[DeviceState, ...]:
        """Give the states of which nothing but the number is known."""
        return tuple(DeviceState(device, DeviceReading(index=number)) for device, number in self._devices)

    def read(self, probe: GpuProbe) -> Sample:
        """Ask for every field of every device; never raises."""
        poll = _Poll(self)
        driver = poll.field(("the driver", "version"), _text, "", lambda: probe.get_driver_version())  # noqa: PLW0108 - a probe may lack it
        cuda = poll.field(("the driver", "CUDA version"), _text, "", lambda: probe.get_cuda_version())  # noqa: PLW0108 - likewise
        states = tuple(
            self._device(poll, probe, device, DeviceReading(number, cuda_driver_version=driver, cuda_version=cuda))
            for device, number in self._devices
        )
        self.asking = ""
        if not poll.answers:
            return Sample(self.unknown(), next(iter(poll.failures.values()), None))
        self._tell(poll)
        broken = (error for error in poll.failures.values() if trouble(error) is Trouble.BROKEN)
        return Sample(states, next(broken, None), any(state.lost for state in states))

    def _device(self, poll: _Poll, probe: GpuProbe, device: int | str, blank: DeviceReading) -> DeviceState:
        who = f"device {device!r}"
        total = poll.field((who, "memory size"), _count, 0, lambda: probe.get_device_memory_total(device))
        used = poll.field((who, "used memory"), _count, 0, lambda: probe.get_device_memory_utilized(device))
        reading = replace(
            blank,
            memory_total=total,
            memory_utilized=min(used, total),
            device_utilization=poll.field((who, "load"), _text, "", lambda: probe.get_device_utilization(device)),
            name=poll.field((who, "name"), _text, "", lambda: probe.get_device_name(device)),
        )
        return self._identified(self._vitals(poll, probe, DeviceState(device, reading), who))

    def _identified(self, state: DeviceState) -> DeviceState:
        """Keep what a card is while it cannot be asked: it is the same one as long as the agent lives."""
        known = self._identities.get(state.device, state)
        whole = replace(
            state,
            reading=replace(state.reading, name=state.reading.name or known.reading.name),
            uuid=state.uuid or known.uuid,
            parent=state.parent or known.parent,
            bus_id=state.bus_id or known.bus_id,
        )
        self._identities[state.device] = whole
        return whole

    def _vitals(self, poll: _Poll, probe: GpuProbe, state: DeviceState, who: str) -> DeviceState:
        """Add what the wire does not have, where the probe knows of it."""
        ask = getattr(probe, "vitals", None)
        found: dict[str, Any] = {}
        if ask is not None and poll.answered(who) and not poll.lost(who):  # what is gone is not asked sixteen times
            questions: dict[str, Any] = poll.field((who, "vitals"), dict, {}, lambda: ask(state.device))
            for name in (name for name in VITALS if name in questions):
                value = poll.field((who, name), _as_it_is, None, questions[name])
                if value is not None:
                    found[name] = value
        missing = {field: kind for (whose, field), kind in poll.kinds.items() if whose == who}
        named = {*missing, *found}
        unsupported = [field for field, kind in missing.items() if kind is Trouble.UNSUPPORTED]
        unsupported += [field for field in VITALS if field not in named and ask is None]
        return replace(
            state,
            **found,
            lost=poll.lost(who),
            unsupported=tuple(field.replace("_", " ") for field in unsupported),
            failures=tuple(
                (field.replace("_", " "), words(poll.failures[who, field]))
                for field, kind in missing.items()
                if kind is not Trouble.UNSUPPORTED
            ),
        )

    def _tell(self, poll: _Poll) -> None:
        """Name each unreadable field once; many GPUs never have some of them (MIG, unified memory)."""
        lacking: dict[tuple[str, str], list[str]] = {}
        for key, error in poll.failures.items():
            if key in self._told:
                continue
            self._told.add(key)
            who, field = key
            if field in VITALS:
                lacking.setdefault((who, words(error)), []).append(field.replace("_", " "))
            else:
                _log.warning("GPU monitor: the %s of %s is unknown: %s", field, who, words(error))
        for (who, why), fields in lacking.items():
            _log.info("GPU monitor: %s does not tell its %s: %s", who, ", ".join(fields), why)


class _Poll:
    """What was asked in one poll."""

    def __init__(self, reader: DeviceReader) -> None:
        self._reader = reader
        self.answers: set[tuple[str, str]] = set()
        self.failures: dict[tuple[str, str], BaseException] = {}
        self.kinds: dict[tuple[str, str], Trouble] = {}

    def field(self, key: tuple[str, str], convert: Callable[[Any], T], unknown: T, ask: Callable[[], Any]) -> T:
        """Ask for one field; `unknown` when that fails in any way, a method that the probe lacks included."""
        self._reader.asking = f"the {key[1].replace('_', ' ')} of {key[0]}"
        try:
            value = convert(ask())
        except BaseException as error:  # noqa: BLE001 - a site's own monitor may raise anything, SystemExit included
            self.failures[key] = error
            self.kinds[key] = trouble(error)
            return unknown
        self.answers.add(key)
        return value

    def answered(self, who: str) -> bool:
        """Whether a device has answered anything."""
        return any(whose == who for whose, _field in self.answers)

    def lost(self, who: str) -> bool:
        """Whether the driver says that a device is gone."""
        return any(kind is Trouble.LOST for (whose, _field), kind in self.kinds.items() if whose == who)


def _as_it_is(value: Any) -> Any:
    if value is None:
        raise TypeError("expected a value, got None")
    return bounded(escape(value.strip()), _TEXT_LIMIT) if isinstance(value, str) else value


def _count(value: Any) -> int:
    """Give bytes that fit an unsigned 64-bit field; drivers have reported less and more than that."""
    return min(max(int(value), 0), _UINT64_MAX)


def _text(value: Any) -> str:
    """Give printable text of bounded length."""
    if value is None:
        raise TypeError("expected a text, got None")
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return bounded(escape(text.strip("\0 \r\n\t")), _TEXT_LIMIT)
