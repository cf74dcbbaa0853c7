"""A node's numbers in Prometheus' words: one family after the other, made when they are asked for.

docs/metrics.md lists them; the names are a promise, so that a dashboard goes on working.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fedenvoy_statecharts import State
from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector, CollectorRegistry

from fedenvoy.devices import GpuReport
from fedenvoy.web import gpus
from fedenvoy.web.children import Use
from fedenvoy.web.tally import LATENCIES, Counts

__all__ = ["Exposition", "families"]

Facts = Mapping[str, Any]
"""The agent at this moment, as the control socket tells it; points in time are seconds since the epoch."""


class Exposition(Collector):
    """Writes the numbers.

    Args:
        facts: Gives the agent at this moment.
        counts: Gives the tally.
        use: Gives what the experiment's processes use.
        labels: Who this is: `shard` and `director`.
        gpu_report: Gives what is known of the GPUs.
        expiries: When each certificate ends, by its file's role; seconds since the epoch.

    """

    def __init__(
        self,
        *,
        facts: Callable[[], Facts],
        counts: Callable[[], Counts],
        use: Callable[[], Use],
        labels: Mapping[str, str],
        gpu_report: Callable[[], GpuReport],
        expiries: Callable[[], Mapping[str, float]],
    ) -> None:
        self._facts = facts
        self._counts = counts
        self._use = use
        self._labels = labels
        self._gpu_report = gpu_report
        self._expiries = expiries
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Give everything, in the text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give the families; prometheus_client asks for them."""
        facts = self._facts()
        identity = {"version": str(facts["version"]), "session": str(facts["session"]), **self._labels}
        yield InfoMetricFamily("fedenvoy", "This node: its shard, director, version and session.", value=identity)
        yield from families(facts, self._counts(), self._use())
        yield from gpus.families(self._gpu_report())
        yield _labelled(
            GaugeMetricFamily(
                "fedenvoy_certificate_expiry_timestamp_seconds",
                "When a certificate ends, seconds since the epoch.",
                labels=["file"],
            ),
            {(name,): moment for name, moment in self._expiries().items()},
        )

    def describe(self) -> Iterable[Metric]:
        """Give nothing: what there is depends on the moment."""
        return ()


def families(facts: Facts, counts: Counts, use: Use) -> Iterator[Metric]:
    """Give the families that are made of the agent, its tally and its processes."""
    yield from _present(facts, counts.oldest_report)
    yield from _counted(counts)
    yield _gauge("child_processes", "Processes below the agent: an experiment's and an installer's.", use.processes)
    yield _gauge("child_cpu_seconds", "CPU time of these processes, seconds.", use.cpu)
    yield _gauge("child_resident_bytes", "Resident memory of these processes, bytes.", use.resident)


def _present(facts: Facts, oldest_report: float | None) -> Iterator[Metric]:
    state = StateSetMetricFamily("fedenvoy_state", "The state of the lifecycle.", labels=[])
    state.add_metric([], {one.value: one.value == facts["state"] for one in State})
    yield state
    yield _gauge(
        "state_since_timestamp_seconds", "When the state was entered, seconds since the epoch.", facts["since"]
    )
    yield _gauge("link_up", "Whether the director has accepted this shard on the present channel.", facts["link_up"])
    yield _gauge("paused", "Whether offers are declined on the operator's wish.", facts["paused"])
    yield _gauge("stopping", "Whether a stop was requested.", facts["stopping"])
    yield _gauge("health_check_period_seconds", "How often the director wants to hear of this node.", facts["period"])
    yield _gauge("health_checks_missed_in_a_row", "Health checks missed since the last answered one.", facts["misses"])
    yield _gauge(
        "last_contact_timestamp_seconds", "When the director last answered a health check.", facts["last_contact"]
    )
    yield _gauge("retry_timestamp_seconds", "When what waits for its next try is begun.", facts["retry_at"])
    yield _gauge("outbox_reports", "Verdicts that the director has not been told.", facts["outbox"])
    yield _gauge("outbox_oldest_timestamp_seconds", "When the one that waits longest was made.", oldest_report)
    yield _gauge("declined_experiments", "Names that rest after their last end.", len(facts["declined"]))
    stale = CounterMetricFamily("fedenvoy_stale_events", "Events that came too late to change anything.")
    stale.add_metric([], facts["stale"])
    yield stale


def _counted(counts: Counts) -> Iterator[Metric]:
    yield _labelled(
        _counter("transitions", "Steps of the lifecycle, steps within a state included.", "event", "source", "target"),
        counts.transitions,
    )
    yield _labelled(_counter("state_seconds", "Time in each state.", "state"), _keyed(counts.seconds))
    yield _labelled(_counter("tries", "Tries after a failure, by its event.", "event"), _keyed(counts.tries))
    yield _labelled(_counter("experiments", "Experiments that ended here.", "verdict"), _keyed(counts.verdicts))
    yield _labelled(_counter("reports", "Verdicts that left the outbox.", "outcome"), _keyed(counts.outcomes))
    histogram = HistogramMetricFamily(
        "fedenvoy_health_check_latency_seconds", "How long the director took to answer a health check."
    )
    bounds = [*map(str, LATENCIES), "+Inf"]
    cumulated = itertools.accumulate(counts.latencies)
    histogram.add_metric([], list(zip(bounds, cumulated, strict=True)), counts.latency_sum)
    yield histogram


def _gauge(name: str, text: str, value: float | None) -> GaugeMetricFamily:
    """Make a family of one number; of none where there is none to tell."""
    family = GaugeMetricFamily(f"fedenvoy_{name}", text)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"fedenvoy_{name}", text, labels=labels)


def _labelled(family: Any, values: Mapping[Any, float]) -> Metric:
    """Fill a family: each key holds the values of its labels."""
    for labels, value in sorted(values.items()):
        family.add_metric(list(labels), value)
    made: Metric = family
    return made


def _keyed(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(key,): value for key, value in values.items()}
