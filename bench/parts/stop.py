"""SIGTERM to the end of the process, idle."""

from __future__ import annotations

import time

from bench.bed import BOTH, PATIENCE, Bed
from bench.records import Series

SETTLE = 2.0
"""Seconds that a node is left alone after it was accepted; by then its poll and its health checks are under way."""


def measure(bed: Bed) -> tuple[Series, ...]:
    """Start, settle, end both in turn."""
    seconds: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    with bed.director() as director:
        for _ in range(bed.runs):
            for kind in BOTH:
                with bed.node(kind, director.host, director.port) as node:
                    node.wait_line(kind.accepted, PATIENCE)
                    time.sleep(SETTLE)
                    seconds[kind.name].append(round(node.terminate(), 4))
    note = "OpenFL's envoy handles no signal, the system kills it; fedenvoy ends its calls, closes its journal, exits 0"
    aside = "OpenFL's is killed by the signal, ours closes its calls and its journal"
    return (Series("SIGTERM to the end, idle", "s", seconds, headline=True, note=note, aside=aside),)
