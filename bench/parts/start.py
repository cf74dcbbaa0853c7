"""Process start to "accepted" by the director: the time a site waits after a restart."""

from __future__ import annotations

from bench.bed import BOTH, PATIENCE, Bed
from bench.records import Series


def measure(bed: Bed) -> tuple[Series, ...]:
    """Start both in turn; the first of each warms the disk's cache and is not counted."""
    seconds: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    cpu: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    with bed.director() as director:
        for number in range(bed.runs + 1):
            for kind in BOTH:
                with bed.node(kind, director.host, director.port) as node:
                    seen = node.wait_line(kind.accepted, PATIENCE)
                    if number:
                        seconds[kind.name].append(round(seen.at - node.begun, 4))
                        cpu[kind.name].append(round(node.cpu(), 2))
    return (
        Series("process start to accepted by the director", "s", seconds, headline=True),
        Series("processor time until then", "s", cpu),
    )
