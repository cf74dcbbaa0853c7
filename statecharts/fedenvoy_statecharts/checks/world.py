"""One configuration of the extended model: a state, the agent's data, what runs, and what the director knows.

The table says what the agent does; this module says what that means: what each effect begins and ends, and whose
answers may therefore arrive. It is written from the words of the vocabulary and shares no code with the running agent.

What the model takes for granted, because the agent's parts are built and tested to do so:

* a link is over with `dial` and `dial later` alike, and so is everything that belongs to it;
* a dial with a run in hand asks first whether the director knows this shard, and answers `shard_forgotten` if not;
* health checks and the background poll go on by themselves after a miss;
* the owner's clocks never ring once they are replaced or disarmed;
* whatever else was cancelled may still have its answer under way: such an answer can come at any later time.

Counts are small: two reports in the outbox at most, misses up to two.
"""

from __future__ import annotations

from typing import NamedTuple

from fedenvoy_statecharts.checks.parts import PARTS, Bond, Part
from fedenvoy_statecharts.model import Chart, Scope, Vocabulary
from fedenvoy_statecharts.vocabulary import Event, State

__all__ = ["AGED", "BOUND", "FRESH", "NONE", "Clock", "Config", "Numbers"]

BOUND = 2
"""Reports in the outbox, and misses in a row, that the model tells apart."""

_ENTRY, _LINK, _RUN = 1, 2, 4
NONE, FRESH = 0, _ENTRY | _LINK | _RUN
"""The numbers that an answer carries, as far as they are still the present ones: none, or all of them.

Signals and the stop clock speak of the agent itself and carry none.
"""
AGED: dict[Bond, int] = {Bond.ENTRY: ~_ENTRY, Bond.LINK: ~_LINK, Bond.RUN: ~_RUN}
"""Which number is no longer the present one when an entry, a link or a run ends."""

_NEEDS: dict[Scope, int] = {
    Scope.ACTIVITY: _ENTRY,
    Scope.LINK: _LINK,
    Scope.RUN: _RUN,
    Scope.RUN_AND_LINK: _RUN | _LINK,
    Scope.AGENT: 0,
}


class Clock:
    """What the stop clock bounds."""

    NONE, DRAIN, DELIVERY = range(3)


class Config(NamedTuple):
    """One configuration.

    Attributes:
        state: The chart's state.
        live: For each part, None when it does not run, else which of its answer's numbers are the present ones.
        late: Parts that were ended, with the numbers of their last answers, where the chart would take those for new.
        link_up: Whether the link is up, as the agent has it.
        misses: Misses in a row.
        run: 0 none, 1 in hand, 2 approved.
        stopping: As the agent has it.
        asked: Whether a stop was asked for, in truth.
        clock: What the stop clock bounds, if it runs.
        due: Reports whose time has come.
        later: Reports that were put off.
        sending: Whether one of those due is being delivered.
        probe: Whether the dial asks before it registers.
        known: Whether the director knows this shard, in truth.
        driven: Whether the director drives the run in hand, in truth.

    """

    state: State
    live: tuple[int | None, ...] = (None,) * len(PARTS)
    late: frozenset[tuple[int, int]] = frozenset()
    link_up: bool = False
    misses: int = 0
    run: int = 0
    stopping: bool = False
    asked: bool = False
    clock: int = Clock.NONE
    due: int = 0
    later: int = 0
    sending: bool = False
    probe: bool = False
    known: bool = False
    driven: bool = False

    @property
    def outbox(self) -> int:
        """How many reports wait."""
        return self.due + self.later

    def runs(self, part: Part) -> bool:
        """Whether a part runs."""
        return self.live[part.number] is not None


class Numbers:
    """Which answers a chart takes for current, by the scopes it declares."""

    def __init__(self, chart: Chart) -> None:
        self._needs: dict[Vocabulary, int] = {event: _NEEDS[scope] for event, scope in chart.events.items()}
        self._asked = [self._mask(part) for part in PARTS]

    def _mask(self, part: Part) -> int:
        mask = 0
        for event in part.events:
            mask |= self._needs[event]
        return mask

    def current(self, event: Event, numbers: int) -> bool:
        """Whether an answer with these numbers is taken for current."""
        needed = self._needs[event]
        return numbers & needed == needed

    def any_current(self, part: Part, numbers: int) -> bool:
        """Whether any answer of a part with these numbers would be."""
        return any(self.current(event, numbers) for event in part.events)

    def told(self, part: Part, numbers: int) -> int:
        """Forget the numbers that no event of the part is judged by, so that they do not multiply configurations."""
        return numbers | (FRESH & ~self._asked[part.number])
