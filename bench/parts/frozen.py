"""A director that is stopped in its tracks (SIGSTOP): the time until the node says that it is lost."""

from __future__ import annotations

import signal
import time

from bench.bed import BOTH, OURS, PATIENCE, Bed
from bench.records import Series

SETTLE = 6.0
"""Seconds after "accepted"; the director's health period is 5 s."""
WATCHED = 60.0
"""Seconds after which a node that has said nothing is taken not to notice."""
LOST = {True: "--director_lost-->", False: "ERROR"}
"""What a node says when it notices: ours; of OpenFL's, any error will do."""


def measure(bed: Bed) -> tuple[Series, ...]:
    """Freeze OpenFL's own director before both nodes in turn; OpenFL's envoy once, for it is watched for a minute."""
    seconds: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    for number in range(bed.runs):
        for kind in BOTH if not number else (OURS,):
            with bed.director() as director, bed.node(kind, director.host, director.port) as node:
                node.wait_line(kind.accepted, PATIENCE)
                time.sleep(SETTLE + number % 5)  # anywhere in the period between two checks
                words = LOST[kind is OURS]
                said = node.count(words)
                director.child.signal(signal.SIGSTOP)
                began = time.monotonic()
                try:
                    seen = node.wait_line(words, WATCHED, number=said + 1)
                    seconds[kind.name].append(round(seen.at - began, 3))
                except RuntimeError:
                    pass
                finally:
                    director.child.signal(signal.SIGCONT)
    noticed = {name: values for name, values in seconds.items() if values}
    note = "health checks every 5 s; the bound is three of these periods and the deadline of a check"
    if len(noticed) == 1:
        note += f". OpenFL's envoy said nothing within {WATCHED:g} s: its calls have no deadline"
    return (Series("director frozen to noticed", "s", noticed, note=note),)
