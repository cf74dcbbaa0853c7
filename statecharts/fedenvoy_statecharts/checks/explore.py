"""Every configuration that the agent and its surroundings can get into, shortest way first.

In each configuration, whatever may happen does: every answer of every part that runs, late answers of parts that were
ended, signals, a full disk, the director restarted, the agent killed and started again. Whatever must never be true is
noted on the way, with the shortest way there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fedenvoy_statecharts.checks.invariants import wrong
from fedenvoy_statecharts.checks.parts import CHECKS, DIAL, PARTS, WATCH, Part
from fedenvoy_statecharts.checks.steps import Broken
from fedenvoy_statecharts.checks.taking import begin, take
from fedenvoy_statecharts.checks.world import BOUND, NONE, Config, Numbers
from fedenvoy_statecharts.model import Chart, Row, Vocabulary, Why
from fedenvoy_statecharts.vocabulary import Effect, Event, Guard, State

__all__ = ["Explored", "Move", "explore"]

_SIGNALS = (
    Event.STOP_REQUESTED,
    Event.ABORT_REQUESTED,
    Event.STORE_FAILED,
    Event.PAUSE_REQUESTED,
    Event.RESUME_REQUESTED,
    Event.FORGET_REQUESTED,
)


class Move(NamedTuple):
    """One step between configurations; without an event it is the surroundings that moved."""

    label: str
    source: Part | None = None
    event: Event | None = None
    row: Row | None = None


@dataclass
class Explored:
    """What was seen.

    Attributes:
        reached_by: For each configuration, the one before it on a shortest way, and the step between.
        moves: For each configuration, the steps from it.
        broken: The first break of each property, with its trace.

    """

    reached_by: dict[Config, tuple[Config, Move] | None] = field(default_factory=dict)
    moves: dict[Config, list[tuple[Move, Config]]] = field(default_factory=dict)
    broken: dict[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def trace(self, config: Config, *more: str) -> tuple[str, ...]:
        """Give the shortest way to a configuration, in words."""
        steps = list(reversed(more))
        before = self.reached_by[config]
        while before is not None:
            steps.append(before[1].label)
            before = self.reached_by[before[0]]
        return tuple(reversed(steps))

    def note(self, number: int, problem: str, config: Config, *more: str) -> None:
        """Keep the first break of a property."""
        if number not in self.broken:
            self.broken[number] = (problem, self.trace(config, *more))


def explore(chart: Chart, *, stop_at_first: bool = False) -> Explored:
    """Visit every configuration, breadth first; a step that contradicts itself leads nowhere."""
    explorer = _Explorer(chart)
    explorer.visit(stop_at_first=stop_at_first)
    return explorer.seen


class _Explorer:
    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.seen = Explored()
        self.numbers = Numbers(chart)
        self.labels = {row: str(row) for row in chart.rows}
        self.ignored = {(entry.state, entry.event): entry.why for entry in chart.ignored}
        self.rows: dict[tuple[Vocabulary, Vocabulary], list[Row]] = {}
        for row in chart.rows:
            self.rows.setdefault((row.source, row.event), []).append(row)

    def visit(self, *, stop_at_first: bool) -> None:
        first = begin(self.chart, self.numbers, outbox=0)
        self.seen.reached_by[first] = None
        queue = deque([first])
        while queue and not (stop_at_first and self.seen.broken):
            config = queue.popleft()
            self._hear_late_answers(config)
            moves = self.seen.moves[config] = [*self._steps(config), *self._surroundings(config)]
            for move, after in moves:
                if after in self.seen.reached_by:
                    continue
                self.seen.reached_by[after] = config, move
                queue.append(after)
                for number, problem in wrong(after):
                    self.seen.note(number, problem, after)

    def _hear_late_answers(self, config: Config) -> None:
        """7, one way: an answer of something that was ended must not be taken for a new one."""
        for number, held in config.late:
            for event in PARTS[number].events:
                if self.numbers.current(event, held) and (config.state, event) in self.rows:
                    what = f"{config.state}, a late {event} of {PARTS[number].name}, which was ended"
                    self.seen.note(7, "an answer that comes too late is taken for a new one", config, what)

    def _steps(self, config: Config) -> Iterator[tuple[Move, Config]]:
        for part, event, held in _arrivals(config):
            rows = self.rows.get((config.state, event), ())
            if not self.numbers.current(event, held):
                what = f"{config.state}, {event}"
                self.seen.note(7, "an answer is taken for a late one although it is not", config, what)
            elif rows:
                for row in rows:
                    yield from self._step(config, part, event, row)
            elif (why := self.ignored.get((config.state, event))) in {Why.STALE, Why.IMPOSSIBLE, None}:
                self.seen.note(2, f"{event} is ignored in {config.state} ({why}), and arrives", config, str(event))

    def _step(self, config: Config, part: Part | None, event: Event, row: Row) -> Iterator[tuple[Move, Config]]:
        before = _answered(config, row)
        if before is None:
            return
        try:
            after = take(before, event, row, part, self.numbers)
        except Broken as broken:
            self.seen.note(broken.number, broken.problem, config, self.labels[row])
            return
        yield Move(self.labels[row], part, event, row), after

    def _surroundings(self, config: Config) -> Iterator[tuple[Move, Config]]:
        """Let the director restart, and the agent be killed or started again."""
        if config.known or config.driven:
            after = config._replace(known=False, driven=False)
            yield Move("(the director is restarted, and knows nothing)"), after
        if config.runs(WATCH) and config.run and not config.driven:
            yield Move("(the director drives the run again)"), config._replace(driven=True)
        label = "(a new session)" if config.state is State.STOPPED else "(the agent is killed; a new session)"
        yield Move(label), begin(self.chart, self.numbers, outbox=config.outbox)


def _arrivals(config: Config) -> Iterator[tuple[Part | None, Event, int]]:
    """Give everything that may arrive: who says it, what, and with which numbers."""
    if config.state is State.STOPPED:
        return
    for part in PARTS:
        held = config.live[part.number]
        if held is not None:
            for event in part.events:
                if _possible(config, part, event):
                    yield part, event, held
    for event in _SIGNALS:
        yield None, event, NONE


def _possible(config: Config, part: Part, event: Event) -> bool:
    """Whether the state of the world allows an answer: a director can only say what it knows."""
    if event is Event.SHARD_FORGOTTEN:
        return not config.known and (part is CHECKS or config.probe)
    if part is DIAL and event is Event.REGISTRATION_ACCEPTED:
        return config.known or not config.probe
    if part is CHECKS and event is Event.HEALTH_CHECKED:
        return config.known
    return True


def _answered(config: Config, row: Row) -> Config | None:
    """Give the configuration in which a row's conditions hold, if they can; other guards are free to hold or not."""
    for condition in row.conditions:
        guard, wanted = condition.guard, condition.expected
        if guard is Guard.LINK_UP and config.link_up is not wanted:
            return None
        if guard is Guard.STOPPING and config.stopping is not wanted:
            return None
        if guard is Guard.SAME_RUN and wanted and config.known and not config.driven:
            return None  # only a director that drives the run offers it; or did, before it was restarted
        if guard is Guard.REPORT_WAITING:
            others = config.due - config.sending
            if wanted is not bool(others):
                if not wanted or not config.later:
                    return None
                # The time of one that was put off has come.
                config = config._replace(due=config.due + 1, later=config.later - 1)
    if Effect.BEGIN_RUN in row.effects and config.outbox >= BOUND:
        return None  # the model's outbox is full; the real one is not
    return config
