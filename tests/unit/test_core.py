"""The core: what it decides, told through messages in and commands out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fedenvoy.commands import (
    Arm,
    CancelActivity,
    CheckHealth,
    Deliver,
    DescribeShard,
    Dial,
    Disarm,
    DropLink,
    End,
    EndRun,
    Fetch,
    Launch,
    Poll,
    Prepare,
    Report,
    Timer,
    Verdict,
    WatchOffers,
)
from fedenvoy.config import AgentSettings, LinkSettings, ReportSettings
from fedenvoy.core import CarriedOver
from fedenvoy.errors import Exit
from fedenvoy.events import Approved, Offer, Problem, Scopes
from fedenvoy_statecharts import SCOPES, Event, Scope, State
from support.core_driver import Driver

E = Event


def test_session_begins_with_a_record_and_the_shard() -> None:
    d = Driver()
    assert d.records[0].event is E.STARTED
    assert d.records[0].source is None
    d.asked_for(DescribeShard)


def test_first_dial_is_at_once_and_later_ones_wait_longer_and_longer() -> None:
    d = Driver()
    d.feed(E.SHARD_DESCRIBED)
    dial = d.asked_for(Dial)
    assert dial.delay == 0
    delays = []
    for _ in range(200):
        d.now += 1.0
        d.feed(E.REGISTRATION_FAILED)
        delays.append(d.asked_for(Dial).delay)
        assert d.core.state is State.DISCONNECTED
    assert min(delays) >= 0.1
    assert max(delays) <= 15.0
    assert sum(delays[-20:]) > sum(delays[:20])


def test_path_of_a_good_experiment_with_an_environment() -> None:
    d = Driver().to_idle()
    d.asked_for(Poll)
    d.feed(E.EXPERIMENT_OFFERED)
    fetch = d.asked_for(Fetch)
    assert isinstance(fetch, Fetch)
    assert fetch.experiment == "exp"
    assert d.feed(E.PLAN_APPROVED, install=True) is State.INSTALLING_REQUIREMENTS
    d.asked_for(Prepare)
    assert d.feed(E.REQUIREMENTS_READY) is State.TRAINING
    d.asked_for(Launch)
    assert d.feed(E.TRAINING_FINISHED) is State.REPORTING
    deliver = d.asked_for(Deliver)
    assert isinstance(deliver, Deliver)
    assert deliver.report.verdict is Verdict.FINISHED
    assert not deliver.report.verdict.is_failure_report
    assert d.records[-1].report == deliver.report
    assert d.feed(E.REPORT_DELIVERED) is State.IDLE
    assert d.records[-1].delivered == deliver.report.id
    assert d.core.snapshot().outbox == 0


@pytest.mark.parametrize("event", [e for e in SCOPES if SCOPES[e] is not Scope.AGENT])
def test_stale_events_change_nothing(event: Event) -> None:
    d = Driver().to_training()
    before = d.core.snapshot()
    d.send(replace(d.message(event), scopes=Scopes(entry=-1, run=-1, link=-1)))
    after = d.core.snapshot()
    assert not d.asked
    assert after.stale == before.stale + 1
    assert (after.state, after.scopes) == (before.state, before.scopes)


def test_B4_a_refusal_ends_or_is_tried_again_as_the_site_wants() -> None:
    d = Driver()
    d.feed(E.SHARD_DESCRIBED)
    assert d.feed(E.REGISTRATION_REFUSED) is State.DISCONNECTED
    assert d.asked_for(Dial).delay > 0
    d = Driver(AgentSettings(link=LinkSettings(on_refused="exit")))
    d.feed(E.SHARD_DESCRIBED)
    assert d.feed(E.REGISTRATION_REFUSED) is State.STOPPED
    end = d.asked_for(End)
    assert isinstance(end, End)
    assert end.code is Exit.REFUSED


def test_B4_refused_when_registering_again_leaves_registered_and_idle() -> None:
    d = Driver().to_idle()
    assert d.feed(E.SHARD_FORGOTTEN) is State.DISCONNECTED
    assert d.feed(E.REGISTRATION_REFUSED) is State.DISCONNECTED
    assert not d.core.snapshot().link_up


def test_B2_forgotten_after_a_long_life_registers_again_at_once_and_once() -> None:
    d = Driver().to_idle()
    d.now += 3600
    old = d.core.snapshot().scopes
    assert d.feed(E.SHARD_FORGOTTEN) is State.DISCONNECTED
    assert d.asked_for(Dial).delay == 0
    # A second health check that raced with the first carries the old epoch and registers nothing.
    d.send(Problem(event=E.SHARD_FORGOTTEN, scopes=old, text="late"))
    assert not d.asked


def test_a_director_that_keeps_forgetting_is_not_asked_as_fast_as_it_answers() -> None:
    d = Driver().to_idle()
    for _ in range(5):
        d.feed(E.SHARD_FORGOTTEN)
        assert d.asked_for(Dial).delay > 0
        d.feed(E.REGISTRATION_ACCEPTED, E.HEALTH_CHECKED)


def test_B16_rejections_are_tried_a_few_times_and_then_end_with_their_own_code() -> None:
    d = Driver(AgentSettings(link=LinkSettings(tries=3)))
    d.feed(E.SHARD_DESCRIBED)
    assert d.feed(E.LINK_REJECTED, E.LINK_REJECTED) is State.DISCONNECTED
    assert d.feed(E.LINK_REJECTED) is State.STOPPED
    end = d.asked_for(End)
    assert isinstance(end, End)
    assert end.code is Exit.LINK


def test_B7_a_failed_experiment_offered_again_is_neither_downloaded_nor_reviewed() -> None:
    d = Driver().to_reporting()
    d.feed(E.REPORT_DELIVERED)
    polls = []
    for _ in range(8):
        assert d.feed(E.EXPERIMENT_OFFERED) is State.IDLE
        assert not any(isinstance(command, Fetch) for command in d.asked)
        polls.append(d.asked_for(Poll).delay)
    assert min(polls) >= 1.0
    assert polls[-1] > polls[0]
    assert d.records[-1].cause == "declined: training_failed happened; looked at again in 60 s"


def test_B7_a_new_archive_under_the_old_name_runs_and_the_old_one_settles_for_longer() -> None:
    d = Driver().to_reporting()
    d.feed(E.REPORT_DELIVERED)
    d.now += 61
    assert d.feed(E.EXPERIMENT_OFFERED) is State.REVIEWING_PLAN
    fetch = d.asked_for(Fetch)
    assert isinstance(fetch, Fetch)
    assert fetch.settled == {"d" * 64}
    assert d.feed(E.ARCHIVE_SETTLED) is State.IDLE
    d.now += 59
    assert d.feed(E.EXPERIMENT_OFFERED) is State.IDLE
    d.now += 2
    assert d.feed(E.EXPERIMENT_OFFERED) is State.REVIEWING_PLAN
    d.feed(E.ARCHIVE_SETTLED)
    d.now += 100
    assert d.feed(E.EXPERIMENT_OFFERED) is State.IDLE
    d.now += 21
    assert d.feed(E.EXPERIMENT_OFFERED, E.PLAN_APPROVED) is State.TRAINING


def test_a_finished_experiment_offered_again_unchanged_is_run_ever_more_rarely() -> None:
    d = Driver().to_idle()
    pauses = []
    d.feed(E.EXPERIMENT_OFFERED)
    for _ in range(4):
        d.feed(E.PLAN_APPROVED, E.TRAINING_FINISHED, E.REPORT_DELIVERED)
        since = d.now
        while d.feed(E.EXPERIMENT_OFFERED) is State.IDLE:
            d.now += 1
        pauses.append(d.now - since)
    assert pauses == [5, 10, 20, 40]


def test_a_settled_archive_stays_settled_when_another_of_its_name_has_finished() -> None:
    d = Driver().to_reporting()
    d.feed(E.REPORT_DELIVERED)
    d.now += 61
    d.feed(E.EXPERIMENT_OFFERED)
    scopes = d.core.snapshot().scopes
    d.send(Approved(event=E.PLAN_APPROVED, scopes=scopes, digest="e" * 64, engine="callable", install=False))
    d.feed(E.TRAINING_FINISHED, E.REPORT_DELIVERED)
    d.now += 61
    d.feed(E.EXPERIMENT_OFFERED)
    fetch = d.asked_for(Fetch)
    assert isinstance(fetch, Fetch)
    assert fetch.settled == {"d" * 64}


def test_another_experiment_runs_while_one_rests() -> None:
    d = Driver().to_reporting()
    d.feed(E.REPORT_DELIVERED)
    assert d.feed(E.EXPERIMENT_OFFERED, name="other") is State.REVIEWING_PLAN


def test_circumstances_settle_nothing_but_rest_the_name() -> None:
    d = Driver().to_training()
    d.send(Problem(event=E.TRAINING_FAILED, scopes=d.core.snapshot().scopes, text="no disk", code="disk"))
    assert d.records[-1].settled is None
    d.feed(E.REPORT_DELIVERED)
    assert d.feed(E.EXPERIMENT_OFFERED) is State.IDLE
    d.now += 61
    assert d.feed(E.EXPERIMENT_OFFERED) is State.REVIEWING_PLAN
    fetch = d.asked_for(Fetch)
    assert isinstance(fetch, Fetch)
    assert not fetch.settled


def test_B29_failed_requirements_never_reach_training() -> None:
    d = Driver().to_idle()
    d.feed(E.EXPERIMENT_OFFERED)
    d.feed(E.PLAN_APPROVED, install=True)
    assert d.feed(E.REQUIREMENTS_FAILED) is State.REPORTING
    assert State.TRAINING not in {record.target for record in d.records}


def test_B24_work_goes_on_without_the_director_and_a_redial_asks_before_it_registers() -> None:
    d = Driver().to_training()
    run = d.core.snapshot().scopes.run
    assert d.feed(E.DIRECTOR_LOST) is State.TRAINING
    dial = d.asked_for(Dial)
    assert isinstance(dial, Dial)
    assert dial.probe
    assert d.feed(E.REGISTRATION_FAILED, E.REGISTRATION_ACCEPTED) is State.TRAINING
    d.asked_for(WatchOffers)
    d.asked_for(CheckHealth)
    assert d.feed(E.EXPERIMENT_REOFFERED) is State.TRAINING
    assert d.core.snapshot().scopes.run == run


def test_B47_a_director_that_forgot_the_run_has_a_bounded_time_to_offer_it_again() -> None:
    d = Driver().to_training()
    d.feed(E.SHARD_FORGOTTEN)
    arm = d.asked_for(Arm)
    assert isinstance(arm, Arm)
    assert arm.timer is Timer.ORPHAN
    dial = d.asked_for(Dial)
    assert isinstance(dial, Dial)
    assert not dial.probe
    d.feed(E.REGISTRATION_ACCEPTED)
    d.feed(E.SHARD_FORGOTTEN)
    assert not any(isinstance(command, Arm) for command in d.asked), "a crash loop must not move the end"
    assert d.send(arm.message) is State.REPORTING
    assert d.records[-1].report is not None
    assert d.records[-1].report.verdict is Verdict.ORPHANED


def test_reoffering_the_run_stops_the_orphan_clock() -> None:
    d = Driver().to_training()
    d.feed(E.SHARD_FORGOTTEN, E.REGISTRATION_ACCEPTED, E.EXPERIMENT_REOFFERED)
    disarm = d.asked_for(Disarm)
    assert isinstance(disarm, Disarm)
    assert disarm.timer is Timer.ORPHAN


def test_another_offer_while_busy_orphans_the_run() -> None:
    d = Driver().to_training()
    d.feed(E.SHARD_FORGOTTEN, E.REGISTRATION_ACCEPTED)
    assert d.feed(E.EXPERIMENT_REOFFERED, name="other") is State.REPORTING
    d.asked_for(EndRun)


def test_B44_a_report_survives_the_loss_of_the_director() -> None:
    d = Driver().to_training()
    d.feed(E.DIRECTOR_LOST)
    assert d.feed(E.TRAINING_FAILED) is State.REPORTING
    assert d.feed(E.REPORT_FAILED) is State.DISCONNECTED
    assert d.core.snapshot().outbox == 1
    assert d.feed(E.REGISTRATION_ACCEPTED, E.HEALTH_CHECKED) is State.REPORTING
    deliver = d.asked_for(Deliver)
    assert isinstance(deliver, Deliver)
    assert deliver.report.experiment == "exp"
    assert d.feed(E.REPORT_DELIVERED) is State.IDLE


def test_reports_of_an_earlier_session_are_delivered_before_anything_else() -> None:
    old = Report(id="before-1", experiment="old", verdict=Verdict.FAILED, code=1, text="x")
    d = Driver(carried=CarriedOver(reports=(old,), settled=(("old", "d" * 64),)))
    assert d.feed(E.SHARD_DESCRIBED, E.REGISTRATION_ACCEPTED, E.HEALTH_CHECKED) is State.REPORTING
    assert d.feed(E.REPORT_DELIVERED) is State.IDLE
    assert d.feed(E.EXPERIMENT_OFFERED, name="old") is State.IDLE


def test_delivery_tries_used_up_lets_the_node_work_and_comes_back_to_the_report() -> None:
    d = Driver(AgentSettings(report=ReportSettings(tries=3))).to_reporting()
    for _ in range(2):
        assert d.feed(E.REPORT_FAILED) is State.REPORTING
        assert d.asked_for(Deliver).delay > 0
    assert d.feed(E.REPORT_FAILED) is State.IDLE
    arm = d.asked_for(Arm)
    assert isinstance(arm, Arm)
    assert arm.timer is Timer.REPORT
    d.now += arm.delay
    assert d.send(arm.message) is State.REPORTING


def test_a_report_is_put_off_for_longer_each_time_whatever_the_number_of_tries() -> None:
    d = Driver(AgentSettings(report=ReportSettings(tries=5))).to_reporting()
    pauses = []
    for _ in range(12):
        while d.feed(E.REPORT_FAILED) is State.REPORTING:
            pass
        arm = d.asked_for(Arm)
        assert isinstance(arm, Arm)
        pauses.append(arm.delay)
        d.now += arm.delay
        assert d.send(arm.message) is State.REPORTING
    assert pauses[0] <= 30.0
    assert pauses[1] <= 60.0
    assert 60.0 < max(pauses) <= 600.0


def test_waiting_reports_survive_idle_self_transitions() -> None:
    d = Driver(AgentSettings(report=ReportSettings(tries=1))).to_reporting()
    d.feed(E.REPORT_FAILED)
    d.feed(E.EXPERIMENT_OFFERED)
    arm = d.asked_for(Arm)
    assert isinstance(arm, Arm)
    d.now += arm.delay
    assert d.send(arm.message) is State.REPORTING


@pytest.mark.parametrize("steps", [(), (E.SHARD_DESCRIBED,), (E.SHARD_DESCRIBED, E.REGISTRATION_ACCEPTED)])
def test_stop_ends_at_once_without_an_experiment(steps: tuple[Event, ...]) -> None:
    d = Driver()
    d.feed(*steps)
    assert d.feed(E.STOP_REQUESTED) is State.STOPPED
    end = d.asked_for(End)
    assert isinstance(end, End)
    assert end.code is Exit.OK


def test_stop_in_training_drains_and_then_leaves_or_reports() -> None:
    d = Driver(AgentSettings(drain_timeout=33.0)).to_training()
    assert d.feed(E.STOP_REQUESTED) is State.TRAINING
    arm = d.asked_for(Arm)
    assert isinstance(arm, Arm)
    assert arm.delay == 33.0
    d.feed(E.STOP_REQUESTED)
    assert not d.asked, "asking again must not move the end"
    assert d.send(arm.message) is State.STOPPED
    d = Driver(AgentSettings(on_stop="report")).to_training()
    d.feed(E.STOP_REQUESTED)
    assert d.feed(E.DRAIN_EXPIRED) is State.REPORTING
    assert d.records[-1].report is not None
    assert d.records[-1].report.verdict is Verdict.CANCELLED
    assert d.feed(E.REPORT_DELIVERED) is State.STOPPED


def test_B53_a_stop_that_reports_tells_the_director_before_it_leaves() -> None:
    d = Driver(AgentSettings(on_stop="report")).to_idle()
    d.feed(E.EXPERIMENT_OFFERED)
    assert d.feed(E.STOP_REQUESTED) is State.REPORTING
    deliver = d.asked_for(Deliver)
    assert isinstance(deliver, Deliver)
    assert deliver.report.verdict.is_failure_report
    arm = d.asked_for(Arm)
    assert isinstance(arm, Arm)
    assert d.send(arm.message) is State.STOPPED


def test_leaving_a_state_cancels_its_activity_and_makes_late_answers_stale() -> None:
    d = Driver().to_idle()
    late = Offer(event=E.EXPERIMENT_OFFERED, scopes=d.core.snapshot().scopes, experiment="late")
    d.feed(E.POLL_FAILED)
    cancel = d.asked_for(CancelActivity)
    assert isinstance(cancel, CancelActivity)
    assert cancel.scopes == late.scopes
    d.send(late)
    assert not d.asked


def test_every_dial_drops_the_link_and_begins_a_new_epoch() -> None:
    d = Driver().to_idle()
    before = d.core.snapshot().scopes.link
    d.feed(E.DIRECTOR_LOST)
    d.asked_for(DropLink)
    assert d.asked_for(Dial).scopes.link == before + 1


def test_cut_downloads_are_bounded_per_name_even_when_each_takes_the_link_down() -> None:
    d = Driver().to_idle()
    for _ in range(2):
        d.feed(E.EXPERIMENT_OFFERED, E.DIRECTOR_LOST)
        assert d.feed(E.FETCH_INTERRUPTED) is State.DISCONNECTED
        d.feed(E.REGISTRATION_ACCEPTED, E.HEALTH_CHECKED)
    d.feed(E.EXPERIMENT_OFFERED, E.DIRECTOR_LOST)
    assert d.feed(E.FETCH_INTERRUPTED) is State.REPORTING


def test_downloads_that_find_no_director_use_up_no_tries() -> None:
    d = Driver().to_idle()
    d.feed(E.EXPERIMENT_OFFERED)
    for _ in range(10):
        gone = Problem(event=E.FETCH_INTERRUPTED, scopes=d.core.snapshot().scopes, text="gone", code="UNAVAILABLE")
        assert d.send(gone) is State.REVIEWING_PLAN
        assert d.asked_for(Fetch).delay > 0
    d.feed(E.DIRECTOR_LOST)
    assert d.feed(E.FETCH_INTERRUPTED) is State.DISCONNECTED


@pytest.mark.parametrize(
    ("detail", "expected"),
    [("full", "boom\nTraceback ..."), ("summary", "boom"), ("code", "failed on this node (exception)")],
)
def test_what_leaves_the_site_is_what_the_site_allows(detail: str, expected: str) -> None:
    d = Driver(AgentSettings(report=ReportSettings(detail=detail))).to_training()
    scopes = d.core.snapshot().scopes
    d.send(Problem(event=E.TRAINING_FAILED, scopes=scopes, text="boom", code="exception", detail="Traceback ..."))
    assert d.records[-1].report is not None
    assert d.records[-1].report.text == expected


def test_store_failure_ends_every_state_with_its_own_code() -> None:
    for drive in (Driver().to_idle(), Driver().to_training(), Driver().to_reporting()):
        assert drive.feed(E.STORE_FAILED) is State.STOPPED
        end = drive.asked_for(End)
        assert isinstance(end, End)
        assert end.code is Exit.STORE
