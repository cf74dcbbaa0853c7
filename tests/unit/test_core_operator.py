"""What the site's operator wants of a node, and how long a run goes on without a director."""

from __future__ import annotations

import pytest
from fedenvoy.commands import Arm, Dial, Disarm, Poll, Timer, Verdict
from fedenvoy.config import AgentSettings
from fedenvoy.core import CarriedOver
from fedenvoy.events import Problem
from fedenvoy_statecharts import Event, State
from support.core_driver import Driver

E = Event


def test_a_paused_node_declines_and_a_resumed_one_asks_at_once() -> None:
    d = Driver().to_idle()
    assert d.feed(E.PAUSE_REQUESTED) is State.IDLE
    assert d.feed(E.EXPERIMENT_OFFERED) is State.IDLE
    assert d.records[-1].cause == "declined: this node is paused"
    assert d.asked_for(Poll).delay > 0
    assert d.feed(E.RESUME_REQUESTED) is State.IDLE
    assert d.asked_for(Poll).delay == 0
    assert [record.paused for record in d.records if record.paused is not None] == [True, False]
    assert d.feed(E.EXPERIMENT_OFFERED) is State.REVIEWING_PLAN


def test_what_is_in_hand_goes_on_through_a_pause() -> None:
    d = Driver().to_training()
    assert d.feed(E.PAUSE_REQUESTED) is State.TRAINING
    assert not d.asked
    assert d.feed(E.TRAINING_FAILED, E.REPORT_DELIVERED) is State.IDLE
    d.feed(E.EXPERIMENT_OFFERED, name="another")
    assert d.records[-1].cause == "declined: this node is paused"


def test_a_pause_outlives_its_session() -> None:
    d = Driver(carried=CarriedOver(paused=True)).to_idle()
    assert d.core.snapshot().paused
    assert d.feed(E.EXPERIMENT_OFFERED) is State.IDLE


def test_a_forgotten_name_is_taken_again() -> None:
    d = Driver(carried=CarriedOver(settled=(("exp", "d" * 64), ("other", "e" * 64)))).to_idle()
    assert [(one.experiment, one.until) for one in d.core.snapshot().declined] == [("exp", 1060.0), ("other", 1060.0)]
    d.feed(E.EXPERIMENT_OFFERED)
    assert d.feed(E.FORGET_REQUESTED) is State.IDLE
    assert d.records[-1].forgotten == "exp"
    assert d.records[-1].cause == "'exp'"
    assert [one.experiment for one in d.core.snapshot().declined] == ["other"]
    assert d.asked_for(Poll).delay == 0
    assert d.feed(E.EXPERIMENT_OFFERED) is State.REVIEWING_PLAN
    assert d.asked[-1].settled == frozenset()  # type: ignore[attr-defined]


def test_forgetting_what_was_never_known_harms_nothing() -> None:
    d = Driver().to_training()
    assert d.feed(E.FORGET_REQUESTED, name="never") is State.TRAINING
    assert not d.asked


def test_a_snapshot_says_when_the_next_try_is() -> None:
    d = Driver()
    d.feed(E.SHARD_DESCRIBED)
    assert d.core.snapshot().retry_at is None
    d.feed(E.REGISTRATION_FAILED)
    assert d.core.snapshot().retry_at == d.now + d.asked_for(Dial).delay
    d.feed(E.REGISTRATION_ACCEPTED)
    assert d.core.snapshot().retry_at is None


# ---- How long a run goes on without a director


def lost(after: float | None) -> Driver:
    d = Driver(AgentSettings(on_director_loss=after)).to_training()
    assert d.feed(E.DIRECTOR_LOST) is State.TRAINING
    return d


def absence(d: Driver) -> Arm:
    (found,) = [one for one in d.asked if isinstance(one, Arm) and one.timer is Timer.ABSENCE]
    return found


def test_B24_with_stop_after_a_run_ends_when_the_director_was_away_for_long() -> None:
    d = lost(300.0)
    arm = absence(d)
    assert arm.delay == 300.0
    d.feed(E.REGISTRATION_FAILED)
    assert not any(isinstance(one, Arm) for one in d.asked), "each failed dial must not move the end"
    assert d.send(arm.message) is State.REPORTING
    assert d.records[-1].report is not None
    assert d.records[-1].report.verdict is Verdict.ORPHANED


def test_B24_a_director_that_is_back_in_time_ends_nothing() -> None:
    d = lost(300.0)
    d.feed(E.REGISTRATION_ACCEPTED)
    assert d.asked_for(Disarm).timer is Timer.ABSENCE  # type: ignore[attr-defined]
    d.feed(E.DIRECTOR_LOST)
    assert absence(d).delay == 300.0, "the next absence counts anew"


def test_B24_by_default_a_run_goes_on() -> None:
    assert not any(isinstance(one, Arm) for one in lost(None).asked)


@pytest.mark.parametrize("end", [E.TRAINING_FAILED, E.CANCEL_REQUESTED])
def test_the_clock_of_the_absence_ends_with_its_run(end: Event) -> None:
    d = lost(300.0)
    late = absence(d).message
    d.feed(end)
    assert {one.timer for one in d.asked if isinstance(one, Disarm)} == {Timer.ORPHAN, Timer.ABSENCE}
    records = len(d.records)
    d.send(late)
    assert len(d.records) == records, "a ring that was under way is stale"


# ---- What becomes of a report


@pytest.mark.parametrize(("code", "outcome"), [("expired", "expired"), ("", "undeliverable")])
def test_a_report_that_is_given_up_is_told_from_one_that_cannot_be_told(code: str, outcome: str) -> None:
    d = Driver().to_training()
    d.feed(E.TRAINING_FAILED)
    scopes = d.core.snapshot().scopes
    d.send(Problem(event=E.REPORT_UNDELIVERABLE, scopes=scopes, text="too old", code=code))
    assert d.records[-1].outcome == outcome
    assert d.records[-1].delivered
