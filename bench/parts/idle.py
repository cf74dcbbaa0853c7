"""What a node weighs while nothing happens: that is what it does most of the year."""

from __future__ import annotations

import time

from bench.bed import BOTH, PATIENCE, Bed
from bench.records import Series

SETTLE = 17.0
"""Seconds after "accepted": the director's health period is 5 s, so that four checks have been sent."""


def measure(bed: Bed) -> tuple[Series, ...]:
    """Weigh both in turn, never two at once: the pages that they would share count in part only."""
    rss: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    pss: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    threads: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    with bed.director() as director:
        for _ in range(bed.runs):
            for kind in BOTH:
                with bed.node(kind, director.host, director.port) as node:
                    node.wait_line(kind.accepted, PATIENCE)
                    time.sleep(SETTLE)
                    weight = node.footprint()
                rss[kind.name].append(round(weight.rss, 2))
                pss[kind.name].append(round(weight.pss, 2))
                threads[kind.name].append(weight.threads)
    return (
        Series("idle resident memory (RSS), all processes", "MB", rss, headline=True),
        Series("idle proportional memory (PSS), all processes", "MB", pss),
        Series("threads, gRPC's own included", "", threads),
    )
