"""One step under way in the model: a configuration that its effects change."""

from __future__ import annotations

from typing import Any

from fedenvoy_statecharts.checks.parts import PARTS, REPORT_CLOCK, STOP_CLOCK, Bond, Part
from fedenvoy_statecharts.checks.world import AGED, FRESH, NONE, Config, Numbers
from fedenvoy_statecharts.vocabulary import Event, State

__all__ = ["Broken", "Step"]


class Broken(Exception):  # noqa: N818 - it is a finding, not an error
    """A step broke a property: its number and what is wrong."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(number, problem)
        self.number = number
        self.problem = problem


class Step:
    """A configuration while its effects are carried out."""

    def __init__(self, config: Config, event: Event, numbers: Numbers) -> None:
        self.now: dict[str, Any] = config._asdict()
        self.live: list[int | None] = list(config.live)
        self.late = set(config.late)
        self.event = event
        self.numbers = numbers
        self.ends = 0

    def start(self, part: Part) -> None:
        """Begin something; what it replaces may still answer."""
        if part not in {STOP_CLOCK, REPORT_CLOCK}:
            self.stop(part)
        self.live[part.number] = NONE if part is STOP_CLOCK else FRESH

    def stop(self, part: Part) -> None:
        """End something that may still have an answer under way."""
        numbers = self.live[part.number]
        if numbers is not None:
            self.late.add((part.number, numbers))
            self.live[part.number] = None

    def over(self, bond: Bond) -> None:
        """An entry, a link or a run is over: what belongs to it ends, and its number is an old one from now on."""
        for part in PARTS:
            if bond in part.bond:
                self.stop(part)
        aged = AGED[bond]
        self.live = [None if numbers is None else numbers & aged for numbers in self.live]
        self.late = {(part, numbers & aged) for part, numbers in self.late}

    def require(self, number: int, problem: str, *, met: bool) -> None:
        """Break a property unless a condition is met."""
        if not met:
            raise Broken(number, problem)

    def done(self) -> Config:
        """Give the configuration after the step; with the session everything ends, and nobody hears what comes late."""
        told = self.numbers.told
        if self.now["state"] is State.STOPPED:
            self.live, self.late = [None] * len(PARTS), set()
        self.now["live"] = tuple(
            None if numbers is None else told(part, numbers) for part, numbers in zip(PARTS, self.live, strict=True)
        )
        self.now["late"] = frozenset(
            (part, told(PARTS[part], numbers))
            for part, numbers in self.late
            if self.numbers.any_current(PARTS[part], numbers)
        )
        return Config(**self.now)
