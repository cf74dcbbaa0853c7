"""The director comes back after an outage: the time until it has accepted a health check of the node again."""

from __future__ import annotations

import random
import time

from fedenvoy.commands import Command, Dial
from fedenvoy.config import AgentSettings
from fedenvoy.core import Core
from fedenvoy.events import Health, Message, Problem, Shard, ShardDescription
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event

from bench.bed import BOTH, OURS, PATIENCE, Bed, NodeKind
from bench.records import Series

PERIOD = 5.0
"""Seconds between health checks, as this director wants them."""
SHORT = 20.0
"""Seconds; the outage that is waited out."""
LONG = (120.0, 600.0)
"""Seconds; the outages whose waits pass on a virtual clock."""
DRAWS = 20
"""Outages of each of these, with as many seeds."""
WATCHED = 60.0
"""Seconds after which a node that has not come back is taken not to come back."""


def measure(bed: Bed) -> tuple[Series, ...]:
    """Take both nodes through the short outage, and our waits through the long ones."""
    seconds: dict[str, list[float]] = {kind.name: [] for kind in BOTH}
    for number in range(bed.runs):
        for kind in BOTH if not number else (OURS,):
            taken = _back(bed, kind)
            if taken is not None:
                seconds[kind.name].append(taken)
    came = {name: values for name, values in seconds.items() if values}
    note = f"the director is restarted without its memory, as OpenFL's is; health checks every {PERIOD:g} s"
    if len(came) == 1:
        note += (
            f". OpenFL's envoy, taken through the same outage, did not come back within {WATCHED:g} s: its thread for "
            "health checks ends with the first that fails"
        )
    virtual = "the waits pass on a virtual clock: the core decides them, a refused connection is taken to need no time"
    return (
        Series(f"director's return to accepted health check, after {SHORT:g} s", "s", came, note=note),
        *(
            Series(
                f"director's return to the next dial, after {outage / 60:g} min",
                "s",
                {OURS.name: [round(_next_dial(outage, seed), 3) for seed in range(DRAWS)]},
                note=virtual,
            )
            for outage in LONG
        ),
    )


def _back(bed: Bed, kind: NodeKind) -> float | None:
    """Let the director be away for a while; give the seconds from its return to the first health check it accepts."""
    with SandboxDirector(period=PERIOD) as director, bed.node(kind, "127.0.0.1", director.address.port) as node:
        node.wait_line(kind.accepted, PATIENCE)
        director.wait_for_calls("UpdateEnvoyStatus", 2, timeout=PATIENCE)
        director.stop()
        director.forget()
        time.sleep(SHORT)
        director.start()
        began = time.monotonic()
        try:
            director.wait_for(lambda _calls: any(known.checks for known in director.nodes.values()), WATCHED)
        except TimeoutError:
            return None
        return round(time.monotonic() - began, 3)


def _next_dial(outage: float, seed: int) -> float:
    """Give the seconds from a director's return to the next dial, where every dial before was refused."""
    core = Core(AgentSettings(), session="bench", now=0.0, rng=random.Random(seed))
    core.start(0.0)

    def tell(message: Message, now: float) -> tuple[Command, ...]:
        return core.handle(message, now)

    def now_numbered(kind: type[Message], event: Event, **payload: object) -> Message:
        return kind(event=event, scopes=core.snapshot().scopes, **payload)

    tell(now_numbered(Shard, Event.SHARD_DESCRIBED, description=ShardDescription(("8",), ("1",))), 0.0)
    tell(now_numbered(Message, Event.REGISTRATION_ACCEPTED), 0.0)
    tell(now_numbered(Health, Event.HEALTH_CHECKED, period=PERIOD), 0.0)
    lived = 3600.0
    lost = lived + random.Random(seed).uniform(0.0, 3 * PERIOD)
    asked = tell(now_numbered(Problem, Event.DIRECTOR_LOST, text="lost"), lost)
    now = lost
    while True:
        (dial,) = [command for command in asked if isinstance(command, Dial)]
        now += dial.delay
        if now >= lived + outage:
            return now - lived - outage
        asked = tell(now_numbered(Problem, Event.REGISTRATION_FAILED, text="refused"), now)
