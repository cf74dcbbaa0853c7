"""What is known of a GPU, beyond what the wire can say: for status, metrics, and the question whether a run may begin.

A leaf: plain values. Who reads them, and how, is the monitor's business.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedenvoy.events import DeviceReading

__all__ = ["DeviceProcess", "DeviceState", "GpuReport"]


@dataclass(frozen=True, slots=True)
class DeviceProcess:
    """A process that computes on a GPU.

    Attributes:
        pid: As the driver counts processes: in a container it may mean nothing.
        memory: Bytes of the GPU's memory that it holds; None where the driver does not say.

    """

    pid: int
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One GPU at one moment. None stands for what could not be read, and `unsupported` and `failures` say why.

    Attributes:
        device: As configured: a number, a UUID or a PCI bus id.
        reading: What is sent to the director.
        uuid: Its UUID, also a MIG instance's; empty when unknown.
        parent: Of a MIG instance: the UUID of the GPU that it is a part of.
        bus_id: Its PCI bus id; of a MIG instance, that of its GPU.
        memory_free: Bytes.
        utilization: Percent of the last moments in which a kernel ran.
        temperature: Degrees Celsius.
        power: Watts.
        power_limit: Watts.
        sm_clock: MHz.
        memory_clock: MHz.
        ecc_corrected: Memory errors since the driver was loaded that were corrected.
        ecc_uncorrected: Those that were not.
        memory_worn: Whether memory rows or pages wait for a reset to be taken out of use, or could not be.
        throttle: Why its clocks are held down, in words; empty when nothing holds them.
        processes: Who computes on it.
        xid: The number of its last critical error in this session; 0 when there was none.
        lost: Whether the driver says that it has fallen off the bus.
        unsupported: Names of the fields that this GPU, driver or monitor does not have.
        failures: Names of the other fields that could not be read, each with the reason.

    """

    device: int | str
    reading: DeviceReading
    uuid: str = ""
    parent: str = ""
    bus_id: str = ""
    memory_free: int | None = None
    utilization: int | None = None
    temperature: int | None = None
    power: float | None = None
    power_limit: float | None = None
    sm_clock: int | None = None
    memory_clock: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    memory_worn: bool | None = None
    throttle: tuple[str, ...] | None = None
    processes: tuple[DeviceProcess, ...] | None = None
    xid: int | None = None
    lost: bool = False
    unsupported: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class GpuReport:
    """All registered GPUs, and how far what is said of them can be trusted.

    Attributes:
        devices: One per registered GPU, in order.
        age: Seconds since the last good sample was begun; None when there was none.
        overdue: Seconds that the present sample has taken, once that is more than it may; 0 otherwise.
        late: Samples in this session that took longer than they may.
        error: Why the last attempt brought nothing; empty when it was a good one.
        shared: Other agents' use of these GPUs, in words; empty when there is none.

    """

    devices: tuple[DeviceState, ...] = ()
    age: float | None = None
    overdue: float = 0.0
    late: int = 0
    error: str = ""
    shared: str = ""
