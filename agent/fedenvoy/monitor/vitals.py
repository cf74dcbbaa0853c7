"""What NVML says of a GPU beyond the wire's fields: temperature, power, clocks, errors, and who uses it.

One question per field, so that one that cannot be answered costs no other; in several forms where drivers differ. What
becomes of an unreadable field is decided in `reader`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fedenvoy.devices import DeviceProcess
from fedenvoy.monitor.handles import Handles
from fedenvoy.monitor.trouble import Trouble, trouble

__all__ = ["VITALS", "Events", "first", "questions", "text"]

VITALS = (
    "uuid",
    "parent",
    "bus_id",
    "memory_free",
    "utilization",
    "temperature",
    "power",
    "power_limit",
    "sm_clock",
    "memory_clock",
    "ecc_corrected",
    "ecc_uncorrected",
    "memory_worn",
    "throttle",
    "processes",
    "xid",
)
"""The fields, by their names in `DeviceState`, in the order in which they are asked for."""

_SM, _MEMORY = 1, 2
_CORRECTED, _UNCORRECTED = 0, 1
_SINCE_THE_DRIVER_WAS_LOADED = 0
_HOTTEST, _MOST_WATTS, _FASTEST, _LAST_PID, _MOST_BYTES = 250, 20_000.0, 20_000, 2**22, 2**50
"""Beyond these a value is garbage: a driver whose structures have changed gives anything."""

_THROTTLES = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "reliability",
}
"""The reasons for lower clocks that are a limit; idling and settings of the site's own are none."""

_XID_ERRORS = 0x8
_MOST_EVENTS = 16
Question = Callable[[], Any]


def first(*questions: Question) -> Any:
    """Give the first answer of several forms of one question; later ones are for drivers that lack the earlier.

    Raises:
        Exception: What the first form raised, when none of them is there.

    """
    refusals: list[Exception] = []
    for question in questions:
        try:
            return question()
        except Exception as error:  # noqa: PERF203 - the binding's errors are known by name alone
            if trouble(error) is not Trouble.UNSUPPORTED:
                raise
            refusals.append(error)
    raise refusals[0]


def text(function: Callable[[Any], Any], *arguments: Any) -> str:
    """Give a text from the binding, also one that is no UTF-8, and the bytes that older bindings give."""
    try:
        value = function(*arguments)
    except UnicodeDecodeError:
        undecoded = getattr(function, "__wrapped__", None)  # the binding decodes in a decorator
        if undecoded is None:
            raise
        value = undecoded(*arguments)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Events:
    """The critical errors (Xid) of the devices since they were first asked for.

    Args:
        nvml: The binding.

    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._sets: dict[int | str, Any] = {}
        self._last: dict[int | str, int] = {}

    def last(self, device: int | str, handle: Any) -> int:
        """Give the number of the last one; 0 when there was none."""
        if device not in self._sets:
            made = self._nvml.nvmlEventSetCreate()
            try:
                self._nvml.nvmlDeviceRegisterEvents(handle, _XID_ERRORS, made)
            except BaseException:
                self._free(made)
                raise
            self._sets[device] = made
        for _ in range(_MOST_EVENTS):
            try:
                event = self._nvml.nvmlEventSetWait(self._sets[device], 0)
            except self._nvml.NVMLError as error:
                if type(error).__name__ != "NVMLError_Timeout":
                    raise
                break
            self._last[device] = int(event.eventData)
        return self._last.get(device, 0)

    def close(self) -> None:
        """Give the event sets back."""
        for made in self._sets.values():
            self._free(made)
        self._sets.clear()

    def _free(self, made: Any) -> None:
        with contextlib.suppress(Exception):
            self._nvml.nvmlEventSetFree(made)


def questions(nvml: Any, handles: Handles, events: Events, device: int | str) -> Iterator[tuple[str, Question]]:
    """Give the question for each of `VITALS`; asking it raises what the binding raises, or ValueError for garbage."""

    def own() -> Any:
        return handles.of(device)

    def card() -> Any:
        return handles.physical(device)

    def clock(kind: int) -> int:
        return _within(nvml.nvmlDeviceGetClockInfo(card(), kind), _FASTEST, "MHz")

    def ecc(kind: int) -> int:
        return int(nvml.nvmlDeviceGetTotalEccErrors(card(), kind, _SINCE_THE_DRIVER_WAS_LOADED))

    def parent() -> str:
        handle = handles.parent(device)
        return "" if handle is None else text(nvml.nvmlDeviceGetUUID, handle)

    asked: Mapping[str, Question] = {
        "uuid": lambda: text(nvml.nvmlDeviceGetUUID, own()),
        "parent": parent,
        "bus_id": lambda: _bus_id(nvml.nvmlDeviceGetPciInfo(card())),
        "memory_free": lambda: int(memory(nvml, own()).free),
        "utilization": lambda: percent(nvml, own()),
        "temperature": lambda: _within(
            first(
                lambda: nvml.nvmlDeviceGetTemperature(card(), 0),
                lambda: nvml.nvmlDeviceGetTemperatureV(card(), 0),
            ),
            _HOTTEST,
            "°C",
        ),
        "power": lambda: _watts(nvml.nvmlDeviceGetPowerUsage(card())),
        "power_limit": lambda: _watts(nvml.nvmlDeviceGetEnforcedPowerLimit(card())),
        "sm_clock": lambda: clock(_SM),
        "memory_clock": lambda: clock(_MEMORY),
        "ecc_corrected": lambda: ecc(_CORRECTED),
        "ecc_uncorrected": lambda: ecc(_UNCORRECTED),
        "memory_worn": lambda: _worn(nvml, card()),
        "throttle": lambda: _throttles(nvml, card()),
        "processes": lambda: _processes(nvml, own()),
        "xid": lambda: events.last(device, card()),
    }
    return iter(asked.items())


def memory(nvml: Any, handle: Any) -> Any:
    """Give the memory's sizes, in the first form that the driver knows."""

    def second() -> Any:
        return nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)

    return first(lambda: nvml.nvmlDeviceGetMemoryInfo(handle), second)


def percent(nvml: Any, handle: Any) -> int:
    """Give the share of the last moments in which a kernel ran."""
    return _within(nvml.nvmlDeviceGetUtilizationRates(handle).gpu, 100, "%")


def _within(value: Any, most: int, unit: str) -> int:
    number = int(value)
    if not 0 <= number <= most:
        raise ValueError(f"the driver gives {number} {unit}, which cannot be")
    return number


def _watts(milliwatts: Any) -> float:
    watts = int(milliwatts) / 1000
    if not 0 <= watts <= _MOST_WATTS:
        raise ValueError(f"the driver gives {watts:g} W, which cannot be")
    return watts


def _bus_id(info: Any) -> str:
    given = info.busId
    return (given.decode("ascii", "replace") if isinstance(given, bytes) else str(given)).lower()


def _worn(nvml: Any, handle: Any) -> bool:
    """Ask newer cards for rows, older ones for pages."""

    def rows() -> bool:
        _corrected, _uncorrected, pending, failed = nvml.nvmlDeviceGetRemappedRows(handle)
        return bool(pending or failed)

    return bool(first(rows, lambda: bool(nvml.nvmlDeviceGetRetiredPagesPendingStatus(handle))))


def _throttles(nvml: Any, handle: Any) -> tuple[str, ...]:
    reasons = int(
        first(
            lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        )
    )
    return tuple(words for bit, words in _THROTTLES.items() if reasons & bit)


def _processes(nvml: Any, handle: Any) -> tuple[DeviceProcess, ...]:
    found = first(
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle),
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v2(handle),
    )
    return tuple(
        DeviceProcess(
            _within(one.pid, _LAST_PID, "as a process id"),
            None if one.usedGpuMemory is None else _within(one.usedGpuMemory, _MOST_BYTES, "bytes of a process"),
        )
        for one in found
    )
