"""Every single change of the table is noticed by a property, or would be just as right for a reason that is known."""

from __future__ import annotations

from collections import Counter

import pytest
from fedenvoy_statecharts import LIFECYCLE
from fedenvoy_statecharts.checks.mutations import KINDS, Mutation, Outcome, mutations, run

EVERY = 12
"""The commit tier takes every twelfth change of each kind: about 140 of 1,640."""


def unexplained(outcomes: list[Outcome]) -> list[str]:
    return [outcome.mutation.what for outcome in outcomes if outcome.noticed is None and not outcome.reason]


def sample() -> list[Mutation]:
    everything = list(mutations(LIFECYCLE))
    return [change for kind in KINDS for change in [m for m in everything if m.kind == kind][::EVERY]]


def test_a_sample_of_changes_is_noticed_or_explained() -> None:
    outcomes = [run(change) for change in sample()]
    assert len(outcomes) > 100
    assert not unexplained(outcomes)
    noticed = sum(outcome.noticed is not None for outcome in outcomes)
    assert noticed / len(outcomes) > 0.9


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_every_change_is_noticed_or_explained() -> None:
    outcomes = [run(change) for change in mutations(LIFECYCLE)]
    assert not unexplained(outcomes)
    by = Counter(outcome.noticed for outcome in outcomes)
    assert set(by) >= set(range(1, 13)), "each property notices something that no earlier one does"
    assert by[None] / len(outcomes) < 0.04
    assert all(outcome.noticed for outcome in outcomes if outcome.mutation.kind in {"drop", "weaken", "negate"})


def test_an_unexpected_survivor_has_no_reason() -> None:
    from fedenvoy_statecharts.checks.reasons import reason_for

    row = LIFECYCLE.rows[0]
    assert not reason_for("drop", row, "")
    assert not reason_for("effect", row, "dial")
    assert not reason_for("retarget", row, "Stopped")
    assert not reason_for("scope", None, "health_checked: agent")
