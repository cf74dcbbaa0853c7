"""The GPUs in a status: from what the agent says of them, and in words for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Gpu", "Gpus", "gpu_lines", "gpus_of"]

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One of the GPUs that the node is configured with; null stands for what cannot be read.

    Attributes:
        device: As configured: a number, a UUID or a PCI bus id.
        name: What it is; empty when not known.
        uuid: Its UUID; empty when not known.
        memory_total: Bytes.
        memory_used: Bytes.
        utilization: Percent.
        temperature: Degrees Celsius.
        power: Watts.
        throttle: Why its clocks are held down.
        ecc_uncorrected: Memory errors that were not corrected, since the driver was loaded.
        xid: The number of its last critical error in this session; 0 when there was none.
        processes: How many processes compute on it.
        lost: Whether it has fallen off the bus.
        unsupported: What cannot be known of it here.
        failures: What else could not be read, with the reason.

    """

    device: int | str
    name: str
    uuid: str
    memory_total: int | None
    memory_used: int | None
    utilization: int | None
    temperature: int | None
    power: float | None
    throttle: tuple[str, ...]
    ecc_uncorrected: int | None
    xid: int | None
    processes: int | None
    lost: bool
    unsupported: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of a living agent.

    Attributes:
        devices: One per configured GPU, in order.
        age: Seconds since they were last read well; None when they never were.
        overdue: Seconds that the driver has not answered, where that is longer than it may; else 0.
        error: Why they could not be read the last time; empty when they could.
        shared: Who else on this machine uses them; empty when nobody does.

    """

    devices: tuple[Gpu, ...] = ()
    age: float | None = None
    overdue: float = 0.0
    error: str = ""
    shared: str = ""


def gpus_of(live: Mapping[str, Any] | None) -> Gpus:
    """Read what an agent says; nothing of one that says nothing, or is of an older version."""
    report = (live or {}).get("gpus")
    if not report:
        return Gpus()
    devices = tuple(_gpu(one) for one in report["devices"])
    return Gpus(devices, report["age"], report["overdue"], report["error"], report["shared"])


def _gpu(state: Mapping[str, Any]) -> Gpu:
    reading = state["reading"]
    known = bool(reading["memory_total"])
    processes = state["processes"]
    return Gpu(
        device=state["device"],
        name=reading["name"],
        uuid=state["uuid"],
        memory_total=reading["memory_total"] if known else None,
        memory_used=reading["memory_utilized"] if known else None,
        utilization=state["utilization"],
        temperature=state["temperature"],
        power=state["power"],
        throttle=tuple(state["throttle"] or ()),
        ecc_uncorrected=state["ecc_uncorrected"],
        xid=state["xid"],
        processes=None if processes is None else len(processes),
        lost=state["lost"],
        unsupported=tuple(state["unsupported"]),
        failures=tuple((field, why) for field, why in state["failures"]),
    )


def gpu_lines(gpus: Gpus, span: Any) -> Iterator[tuple[str, str]]:
    """Give one line per GPU, and one for what concerns all of them.

    Args:
        gpus: What is known.
        span: Writes a duration.

    """
    age = "" if gpus.age is None else f"{span(gpus.age)} ago"
    for gpu in gpus.devices:
        yield f"gpu {gpu.device}" if len(str(gpu.device)) < 8 else "gpu", _line(gpu, age)
    if gpus.overdue:
        yield "gpu driver", f"has not answered for {span(gpus.overdue)}; experiments are not affected"
    elif gpus.error:
        yield "gpu driver", gpus.error
    if gpus.shared:
        yield "gpu in use", gpus.shared


def _line(gpu: Gpu, age: str) -> str:
    name = gpu.name or "unknown GPU"
    head = f"{gpu.device}, {name}" if len(str(gpu.device)) >= 8 else name
    if gpu.lost:
        return f"{head}, lost: it has fallen off the bus"
    if not gpu.name and gpu.failures:
        return f"{head}: not there, or it cannot be read ({gpu.failures[0][1]})"
    words = [head, *_measures(gpu), age or "not read yet", *_worries(gpu)]
    line = ", ".join(word for word in words if word)
    if gpu.unsupported:
        line += f"; not supported: {_short(gpu.unsupported)}"
    if gpu.failures:
        line += f"; unknown: {_short([field for field, _why in gpu.failures])} ({gpu.failures[0][1]})"
    return line


def _measures(gpu: Gpu) -> Iterator[str]:
    if gpu.memory_total is not None and gpu.memory_used is not None:
        yield f"{gpu.memory_used / _GIB:.1f} of {gpu.memory_total / _GIB:.1f} GiB"
    if gpu.utilization is not None:
        yield f"{gpu.utilization} %"
    if gpu.temperature is not None:
        yield f"{gpu.temperature} °C"
    if gpu.power is not None:
        yield f"{gpu.power:.0f} W"


def _worries(gpu: Gpu) -> Iterator[str]:
    if gpu.throttle:
        yield f"slowed down by {' and '.join(gpu.throttle)}"
    if gpu.ecc_uncorrected:
        yield f"{gpu.ecc_uncorrected} uncorrected memory errors"
    if gpu.xid:
        yield f"critical error Xid {gpu.xid}"


def _short(fields: Sequence[str]) -> str:
    return ", ".join(fields) if len(fields) <= 8 else f"{', '.join(fields[:8])} and {len(fields) - 8} more"
