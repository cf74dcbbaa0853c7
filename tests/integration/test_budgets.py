"""Times that a site sets are ceilings, kept on a clock that nobody can set."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.archives import archive

STOP_TIMEOUT = 1.5
SLACK = 2.0
"""Seconds that a busy machine may add; the next retry, or the deadline of a call, would take longer."""
BROKEN = archive("def run(*_):\n    raise ValueError('no')\n")


@pytest.mark.parametrize("trouble", ["refused", "unanswered"])
def test_B97_a_stop_s_time_is_a_ceiling_whatever_retries_and_deadlines_are_under_way(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SandboxDirector() as director:
        if trouble == "refused":
            director.fail("SetExperimentFailed", grpc.StatusCode.UNAVAILABLE, None)
        else:
            director.hold("SetExperimentFailed")
        director.offer("exp", BROKEN, to=["node-1"])
        settings = config(director.address, tmp_path, agent__stop_timeout=STOP_TIMEOUT)
        with running(settings) as node:
            node.wait_state(State.REPORTING)
            if trouble == "refused":
                node.wait_event(Event.REPORT_FAILED, times=2)  # the next try is seconds away
            begun = time.monotonic()
            node.node.stop()
            node.wait_event(Event.STOP_REQUESTED)
            set_back(monkeypatch)
            assert node.join() is Exit.OK
            assert STOP_TIMEOUT - 0.1 <= time.monotonic() - begun <= STOP_TIMEOUT + SLACK
            assert node.records[-1].event is Event.DRAIN_EXPIRED
            assert node.node.snapshot.outbox == 1, "the verdict is kept for the next start"


def set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move the wall clock back by an hour, as far as this process can be told."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
