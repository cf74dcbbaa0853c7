"""Whether the GPUs are what the site wants them to be before an experiment begins: a judgement over a report.

Pure. What was asked for and cannot be read is not fulfilled: nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator

from fedenvoy.config import GpuRequirements
from fedenvoy.devices import DeviceState, GpuReport

__all__ = ["complaint", "name_of", "size"]

_ASKED = "agent.gpu.require"


def complaint(report: GpuReport, require: GpuRequirements, oldest: float) -> str:
    """Say what is not as it should be, GPU by GPU; empty when all is.

    Args:
        report: What is known.
        require: What is wanted.
        oldest: Seconds that a sample may be old.

    """
    if not require.any or not report.devices:
        return ""
    if report.overdue:
        return f"the GPU driver has not answered for {report.overdue:.0f} s, so that {_ASKED} cannot be checked"
    if report.age is None or report.age > oldest:
        why = report.error or "there was no sample in time"
        return f"the GPUs cannot be read, so that {_ASKED} cannot be checked ({why})"
    return "; ".join(words for state in report.devices for words in _complaints(state, require))


def name_of(state: DeviceState) -> str:
    """Give a GPU's name for people: as configured, and what it is."""
    return f"GPU {state.device}" + (f" ({state.reading.name})" if state.reading.name else "")


def size(count: float) -> str:
    """Write bytes for people, in powers of 1024."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _complaints(state: DeviceState, require: GpuRequirements) -> Iterator[str]:
    name = name_of(state)
    if state.lost:
        yield f"{name} is lost: the driver says that it has fallen off the bus"
        return
    if not state.reading.name and state.failures:
        yield f"{name} is not there, or cannot be read ({state.failures[0][1]})"
        return
    if require.min_free_memory:
        yield from _of_memory(state, name, require.min_free_memory)
    if require.max_temperature:
        yield from _of_temperature(state, name, require.max_temperature)
    if require.no_ecc_errors:
        yield from _of_errors(state, name)
    if require.exclusive:
        yield from _of_processes(state, name)


def _of_memory(state: DeviceState, name: str, least: int) -> Iterator[str]:
    free, wanted = _free(state), size(least)
    if free is None:
        yield f"{name} does not tell its free memory{_why(state, 'memory free')}, and {wanted} are wanted"
    elif free < least:
        yield f"{name} has {size(free)} of memory free, and {_ASKED}.min_free_memory is {wanted}"


def _of_temperature(state: DeviceState, name: str, most: float) -> Iterator[str]:
    if state.temperature is None:
        yield f"{name} does not tell its temperature{_why(state, 'temperature')}, and at most {most:g} °C are wanted"
    elif state.temperature > most:
        yield f"{name} is at {state.temperature} °C, and {_ASKED}.max_temperature is {most:g} °C"


def _of_errors(state: DeviceState, name: str) -> Iterator[str]:
    if state.ecc_uncorrected:
        yield f"{name} counts {state.ecc_uncorrected} uncorrected memory errors ({_ASKED}.no_ecc_errors)"
    if state.memory_worn:
        yield f"{name} has memory that waits for a reset to be taken out of use ({_ASKED}.no_ecc_errors)"
    if why := dict(state.failures).get("ecc uncorrected"):
        yield f"{name} does not tell its memory errors ({why}), and {_ASKED}.no_ecc_errors is set"


def _of_processes(state: DeviceState, name: str) -> Iterator[str]:
    if state.processes is None:
        yield f"{name} does not tell its processes{_why(state, 'processes')}, and {_ASKED}.exclusive is set"
    elif state.processes:
        who = ", ".join(
            f"process {one.pid}" + (f" with {size(one.memory)}" if one.memory is not None else "")
            for one in state.processes[:5]
        )
        more = f" and {len(state.processes) - 5} more" if len(state.processes) > 5 else ""
        yield f"{name} is used by {who}{more} ({_ASKED}.exclusive)"


def _free(state: DeviceState) -> int | None:
    if state.memory_free is not None:
        return state.memory_free
    reading = state.reading
    return reading.memory_total - reading.memory_utilized if reading.memory_total else None


def _why(state: DeviceState, field: str) -> str:
    why = dict(state.failures).get(field) or ("not supported" if field in state.unsupported else "")
    return f" ({why})" if why else ""
