"""B20, B21, B23, B42: what a director and a reviewer at the terminal get to see of a node as its users run it."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import pytest
from dropin.experiments import Told
from dropin.programs import Place, start_command
from fedenvoy.config import PollSettings
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import config, running


def test_B20_a_node_is_listed_as_online_as_soon_as_it_is_registered(place: Place) -> None:
    """With a period of an hour: the first health check waits for none of it."""
    with SandboxDirector(period=3600.0) as director:
        with place.running(*start_command(director.address.port)) as node:
            registered, checked = (
                director.wait_for_calls(name)[0] for name in ("UpdateShardInfo", "UpdateEnvoyStatus")
            )
            assert checked.at - registered.at < 2.0
            assert node.stop() == Exit.OK
        assert len(director.calls_of("UpdateEnvoyStatus")) == 1


@pytest.mark.parametrize("period", [0.0, -5.0])
def test_B21_a_period_that_is_too_short_makes_no_busy_node(place: Place, period: float) -> None:
    with SandboxDirector(period=period) as director:
        with place.running(*start_command(director.address.port)) as node:
            checks = director.wait_for_calls("UpdateEnvoyStatus", 3)
            assert node.stop() == Exit.OK
            printed = node.output
        first, second, third = (check.at for check in checks[:3])
        assert second - first > 0.8
        assert third - second > 0.8
    assert printed.count(f"the director asks for a health check every {period:g} s; it gets one every 1 s") == 1


def test_B21_a_period_within_bounds_is_kept_without_a_word(place: Place) -> None:
    with SandboxDirector(period=1.5) as director:
        with place.running(*start_command(director.address.port)) as node:
            first, second = (check.at for check in director.wait_for_calls("UpdateEnvoyStatus", 2)[:2])
            assert node.stop() == Exit.OK
            assert "health check every" not in node.output
        assert 1.3 < second - first < 20


def test_B23_a_node_that_is_online_but_deaf_is_not_idle(tmp_path: Path) -> None:
    """Health checks work, polls fail: the link counts as lost, the polls are named, and both are set up again."""
    with SandboxDirector(period=1.0) as director:
        director.fail("WaitExperiment", grpc.StatusCode.INTERNAL, times=None, details="queue broken")
        settings = config(director.address, tmp_path, agent__poll=PollSettings(tries=2))
        with running(settings) as node:
            records = node.wait(
                lambda records: any(r.event is Event.POLL_FAILED and r.target is State.DISCONNECTED for r in records)
            )
            lost = next(r for r in records if r.event is Event.POLL_FAILED and r.target is State.DISCONNECTED)
            assert "failed the wait for an experiment: queue broken" in lost.cause
            assert node.count(Event.HEALTH_MISSED) == 0
            director.heal()
            before = len(director.calls_of("UpdateShardInfo"))
            director.wait_for_calls("UpdateShardInfo", before + 1)
            director.wait_for(lambda _calls: director.parked("node-1") == 1)
            node.wait_state(State.IDLE)


def test_B23_a_node_that_polls_but_is_shown_offline_is_not_idle(tmp_path: Path) -> None:
    """The reverse: the parked poll says nothing of the health checks, which are named."""
    with SandboxDirector(period=1.0) as director, running(config(director.address, tmp_path)) as node:
        node.wait_state(State.IDLE)
        director.wait_for(lambda _calls: director.parked("node-1") == 1)
        director.fail("UpdateEnvoyStatus", grpc.StatusCode.INTERNAL, times=None, details="clock broken")
        records = node.wait_event(Event.DIRECTOR_LOST)
        (lost,) = [r for r in records if r.event is Event.DIRECTOR_LOST]
        assert (lost.source, lost.target) == (State.IDLE, State.DISCONNECTED)
        assert "health checks in a row were missed" in lost.cause
        director.heal()
        node.wait_state(State.IDLE, times=2)
        director.wait_for(lambda _calls: director.parked("node-1") == 1)


REVIEWED = "params: {review_experiment: True}\nshard_descriptor: {template: numbers_shard.NumbersShard}\n"


@pytest.mark.parametrize("answer", ["y", "n"])
def test_B42_a_person_at_the_terminal_decides(place: Place, tmp_path: Path, answer: str) -> None:
    place.write("envoy_config.yaml", REVIEWED)
    keyboard, terminal = os.openpty()
    try:
        with SandboxDirector() as director, Told(tmp_path / "pipe") as told:
            director.offer("exp", told.archive("'ran'"), to=["site_1"])
            with place.running(*start_command(director.address.port), stdin=terminal) as node:
                node.wait_for("----- end of the plan -----")
                assert "entry: experiment_code:run" in node.output
                os.write(keyboard, f"{answer}\n".encode())
                if answer == "y":
                    assert told.wait() == "ran"
                else:
                    (report,) = director.wait_for_calls("SetExperimentFailed")
                    assert "rejected" in report.request.error_description
                director.wait_for_calls("WaitExperiment", 2)
                assert node.stop() == Exit.OK
    finally:
        os.close(keyboard)
        os.close(terminal)


def test_B42_without_a_terminal_nothing_starts_and_nothing_is_reported(place: Place) -> None:
    place.write("envoy_config.yaml", REVIEWED)
    with SandboxDirector() as director:
        code, printed = place.run(*start_command(director.address.port))
        assert not director.calls
    assert code == Exit.CONFIGURATION
    assert "review needs a terminal or another review mode (agent.review.mode)" in printed.splitlines()[-1]
    assert "Traceback" not in printed


def test_B42_without_a_terminal_a_policy_in_the_file_does(place: Place) -> None:
    place.write("envoy_config.yaml", REVIEWED + "agent: {review: {mode: accept}}\n")
    with SandboxDirector() as director, place.running(*start_command(director.address.port)) as node:
        node.wait_for("--health_checked--> Idle")
        assert "without review" not in node.output
        assert node.stop() == Exit.OK
