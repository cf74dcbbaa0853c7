"""The GPUs in Prometheus' words: a family for each field, and in it a number for each GPU that tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fedenvoy.devices import DeviceState, GpuReport

__all__ = ["families"]

_FIELDS: tuple[tuple[str, str, Callable[[DeviceState], float | None]], ...] = (
    ("memory_total_bytes", "Size of its memory.", lambda s: s.reading.memory_total or None),
    (
        "memory_used_bytes",
        "Memory in use.",
        lambda s: s.reading.memory_utilized if s.reading.memory_total else None,
    ),
    ("memory_free_bytes", "Memory that is free.", lambda s: s.memory_free),
    ("utilization_ratio", "Share of the last moments in which a kernel ran.", lambda s: _times(s.utilization, 0.01)),
    ("temperature_celsius", "Temperature.", lambda s: s.temperature),
    ("power_watts", "Power that it draws.", lambda s: s.power),
    ("power_limit_watts", "Power that it may draw.", lambda s: s.power_limit),
    ("sm_clock_hertz", "Clock of its processors.", lambda s: _times(s.sm_clock, 1e6)),
    ("memory_clock_hertz", "Clock of its memory.", lambda s: _times(s.memory_clock, 1e6)),
    ("ecc_corrected_errors", "Corrected memory errors since the driver was loaded.", lambda s: s.ecc_corrected),
    ("ecc_uncorrected_errors", "Uncorrected memory errors since the driver was loaded.", lambda s: s.ecc_uncorrected),
    ("memory_worn", "Whether memory had to be taken out of use, or could not be.", lambda s: s.memory_worn),
    (
        "throttled",
        "Whether something holds its clocks down.",
        lambda s: None if s.throttle is None else bool(s.throttle),
    ),
    (
        "processes",
        "Processes that compute on it.",
        lambda s: None if s.processes is None else len(s.processes),
    ),
    ("xid", "Number of its last critical error in this session; 0 for none.", lambda s: s.xid),
    ("lost", "Whether it has fallen off the bus.", lambda s: s.lost),
)
"""Name, meaning, and where the number is; None: this GPU does not tell it."""


def families(report: GpuReport) -> Iterator[Metric]:
    """Give the families of what is known of the GPUs; none where there are none."""
    if not report.devices:
        return
    for name, text, number in _FIELDS:
        family = GaugeMetricFamily(f"fedenvoy_gpu_{name}", text, labels=["gpu", "uuid", "name"])
        for state in report.devices:
            value = number(state)
            if value is not None:
                family.add_metric([str(state.device), state.uuid, state.reading.name], float(value))
        yield family
    age = GaugeMetricFamily("fedenvoy_gpu_sample_age_seconds", "Time since all were last read with success.")
    if report.age is not None:
        age.add_metric([], report.age)
    yield age
    late = CounterMetricFamily("fedenvoy_gpu_late_samples", "Samples that took longer than they may.")
    late.add_metric([], report.late)
    yield late


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
