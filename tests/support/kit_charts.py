"""Charts for the tests of the kit: a small one in words of its own, and random ones in the lifecycle's words."""

from __future__ import annotations

from itertools import product

from fedenvoy_statecharts import LIFECYCLE, Chart, Condition, Effect, Guard, Ignored, Row, Scope, State, Why
from fedenvoy_statecharts.model import Initial, Vocabulary, unless, when
from hypothesis import strategies as st


class Place(Vocabulary):
    SHUT = "shut", "nobody comes in"
    OPEN = "open", "anybody comes in"
    LOCKED = "locked", "only the key opens"
    GONE = "gone", "there is no door"


class Deed(Vocabulary):
    BUILT = "built", "the door is there"
    PUSH = "push", "somebody pushes"
    TURN = "turn", "the key is turned"
    BURN = "burn", "the house burns down"


class Doubt(Vocabulary):
    KEY = "key at hand", "whoever acts has the key"
    FRAIL = "frail", "the door gives way when it is pushed"


class Act(Vocabulary):
    RING = "ring", "a bell rings"


def door(*, lose: Row | None = None) -> Chart:
    """A door; `lose` drops one row, whose pair is ignored then unless it has others."""
    rows = (
        Row(Place.SHUT, Deed.PUSH, Place.OPEN, (), (Act.RING,)),
        Row(Place.SHUT, Deed.TURN, Place.LOCKED, (when(Doubt.KEY),)),
        Row(Place.SHUT, Deed.TURN, None, (unless(Doubt.KEY),)),
        Row(Place.OPEN, Deed.PUSH, Place.SHUT),
        Row(Place.LOCKED, Deed.TURN, Place.SHUT, (when(Doubt.KEY),)),
        Row(Place.LOCKED, Deed.TURN, None, (unless(Doubt.KEY),)),
        Row(Place.LOCKED, Deed.PUSH, Place.GONE, (when(Doubt.FRAIL),)),
        Row(Place.LOCKED, Deed.PUSH, None, (unless(Doubt.FRAIL),), (Act.RING,)),
        Row(Place.SHUT, Deed.BURN, Place.GONE),
        Row(Place.OPEN, Deed.BURN, Place.GONE),
        Row(Place.LOCKED, Deed.BURN, Place.GONE),
    )
    kept = tuple(row for row in rows if row != lose)
    events: dict[Vocabulary, Scope] = {Deed.PUSH: Scope.ACTIVITY, Deed.TURN: Scope.AGENT, Deed.BURN: Scope.AGENT}
    rowed = {(row.source, row.event) for row in kept}
    ignored = [Ignored(p, d, Why.IMPOSSIBLE, "") for p, d in product(Place, events) if (p, d) not in rowed]
    return Chart(
        name="door",
        states=tuple(Place),
        events=events,
        guards=tuple(Doubt),
        effects=tuple(Act),
        initial=Initial(Deed.BUILT, Place.SHUT, ()),
        final=frozenset({Place.GONE}),
        rows=kept,
        ignored=tuple(ignored),
    )


_GUARDS = st.permutations(list(Guard)).map(lambda guards: guards[:2])
_TARGETS = st.none() | st.sampled_from(State)


@st.composite
def charts(draw: st.DrawFn, pairs: int = 25) -> Chart:
    """Any deterministic, total chart in the lifecycle's words with rows for some pairs."""
    every = [(state, event) for state in State for event in LIFECYCLE.events]
    rows: list[Row] = []
    for state, event in draw(st.lists(st.sampled_from(every), min_size=1, max_size=pairs, unique=True)):
        one, two = draw(_GUARDS)
        splits: list[list[tuple[Condition, ...]]] = [
            [()],
            [(when(one),), (unless(one),)],
            [(when(one),), (unless(one), when(two)), (unless(one), unless(two))],
        ]
        cases = draw(st.sampled_from(splits).flatmap(st.permutations))
        effects = tuple(draw(st.lists(st.sampled_from(Effect), max_size=2)))
        rows += [Row(state, event, draw(_TARGETS), case, effects) for case in cases]
    rowed = {(row.source, row.event) for row in rows}
    return Chart(
        name="any",
        states=tuple(State),
        events=LIFECYCLE.events,
        guards=tuple(Guard),
        effects=tuple(Effect),
        initial=LIFECYCLE.initial,
        final=frozenset(),
        rows=tuple(rows),
        ignored=tuple(Ignored(s, e, Why.IMPOSSIBLE, "") for s, e in every if (s, e) not in rowed),
    )
