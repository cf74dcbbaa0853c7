"""What happens in one run, drawn from a seed: the site's settings, what users submit, and what goes wrong when."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedenvoy_statecharts import State

from chaos.place import Experiment

__all__ = ["FAULTS", "Act", "Fault", "Schedule", "draw"]

FAULTS: Mapping[str, tuple[int, float, float]] = {
    "director killed": (3, 0.0, 3.0),
    "director restarted": (2, 0.0, 0.0),
    "director frozen": (3, 0.3, 5.0),
    "relay cut": (2, 0.0, 3.0),
    "relay swallows": (3, 0.3, 5.0),
    "replies lost": (2, 0.3, 4.0),
    "relay refuses": (1, 0.3, 3.0),
    "relay slow": (1, 0.5, 3.0),
    "connections reset": (2, 0.0, 0.0),
    "agent killed": (4, 0.0, 1.5),
    "agent stopped": (2, 0.0, 1.0),
    "agent stopped twice": (1, 0.0, 0.5),
    "agent frozen": (1, 0.3, 3.0),
    "child killed": (2, 0.0, 0.0),
    "guard killed": (1, 0.0, 0.0),
    "uv killed": (2, 0.0, 0.0),
}
"""Every kind of fault: how often it is drawn, and the shortest and longest that it lasts, in seconds."""

_KINDS = tuple(kind for kind, (weight, _, _) in FAULTS.items() for _ in range(weight))
_STATES = (State.IDLE, State.REVIEWING_PLAN, State.INSTALLING_REQUIREMENTS, *(State.TRAINING,) * 2, State.REPORTING)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; `pause` is how long after the one before it begins, `lasts` how long it goes on."""

    kind: str
    pause: float
    lasts: float


@dataclass(frozen=True, slots=True)
class Act:
    """One experiment, and what goes wrong while it is held in a state.

    Attributes:
        experiment: What is submitted.
        state: Where it is held; Idle: the faults come first.
        faults: What goes wrong then; they overlap.
        patient: Whether the next act waits until this experiment is over.

    """

    experiment: Experiment
    state: State
    faults: tuple[Fault, ...]
    patient: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run.

    Attributes:
        seed: Makes it.
        settings: Of the `agent:` section.
        acts: What happens.

    """

    seed: int
    settings: Mapping[str, Any]
    acts: tuple[Act, ...]

    def words(self) -> str:
        """Say it on one line."""
        acts = (
            f"{act.experiment} in {act.state}: "
            + ", ".join(f"{f.kind} after {f.pause:.2f} for {f.lasts:.2f}" for f in act.faults)
            for act in self.acts
        )
        return f"seed {self.seed} {dict(self.settings)}; " + "; ".join(acts)


def draw(seed: int) -> Schedule:
    """Draw a schedule; the same seed gives the same one, always and everywhere."""
    rng = random.Random(seed)
    settings = {
        "on_stop": rng.choice(("leave", "report")),
        "on_interrupted": rng.choice(("resume", "resume", "fail")),
        "drain_timeout": rng.choice((0.5, 2.0)),
    }
    acts = tuple(_draw_act(rng, number) for number in range(rng.choice((1, 1, 2, 2, 3))))
    return Schedule(seed, settings, acts)


def _draw_act(rng: random.Random, number: int) -> Act:
    state = rng.choice(_STATES)
    ending = rng.choice(("finish", "finish", "fail", "crash", "leave"))
    if state is State.REPORTING:
        ending = "fail"  # only a failure report is a call that can be held alone
    installs = state is State.INSTALLING_REQUIREMENTS or rng.random() < 0.1
    faults = tuple(_draw_fault(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3))))
    return Act(Experiment(f"exp-{number}", ending, installs), state, faults, patient=rng.random() < 0.5)


def _draw_fault(rng: random.Random) -> Fault:
    kind = rng.choice(_KINDS)
    _, shortest, longest = FAULTS[kind]
    lasts = rng.uniform(shortest, rng.choice((longest, shortest + (longest - shortest) / 3)))
    return Fault(kind, rng.choice((0.0, 0.0, rng.uniform(0.0, 0.5))), lasts)
