"""Registration to first poll: for so long OpenFL's director fails everybody who lists its nodes or submits."""

from __future__ import annotations

from fedenvoy.testing import SandboxDirector

from bench.bed import BOTH, PATIENCE, Bed
from bench.records import Series


def measure(bed: Bed) -> tuple[Series, ...]:
    """Start both in turn, before a director that notes when it is called; the first of each is not counted."""
    seconds: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    for number in range(bed.runs + 1):
        for kind in BOTH:
            with SandboxDirector() as director, bed.node(kind, "127.0.0.1", director.address.port):
                polled = director.wait_for_calls("WaitExperiment", timeout=PATIENCE)[0].at
                registered = director.calls_of("UpdateShardInfo")[0].at
            if number:
                seconds[kind.name].append(round(polled - registered, 5))
    note = "the director of OpenFL 1.6 fails every user's list of nodes, and with it every submission, for so long"
    return (Series("registration to first poll", "s", seconds, note=note),)
