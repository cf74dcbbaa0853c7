"""A node under a service manager: what it says on the notification socket from its start to its end."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.commands import Record
from fedenvoy.config import NodeConfig, PollSettings
from fedenvoy.errors import Exit
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.service.manager import ServiceManager
from fedenvoy.store import Store
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import RunningNode, config
from support.archives import archive
from support.notified import Listener, fed, first, states, stop_deadline, watchdog_deadline
from support.processes import node_program, write_home

S, E = State, Event
WATCHDOG = 20.0
"""Seconds; a manager that really watches allows as much, and no step of these tests comes near."""

GATED = """
import json, os, pathlib, time
def run(shard, devices, plan):
    pathlib.Path({began!r}).write_text(json.dumps(dict(os.environ)))
    while not pathlib.Path({gate!r}).exists():
        time.sleep(0.02)
"""


def test_a_service_from_its_start_to_its_end_in_training(tmp_path: Path) -> None:
    began, gate, home = tmp_path / "began", tmp_path / "gate", tmp_path / "home"
    write_home(home, tmp_path / "state", drain=60.0, stop=10.0)
    with Listener.listening(tmp_path) as listener, SandboxDirector(period=1.0, reoffers=True) as director:
        port, environment = director.address.port, listener.environment(WATCHDOG)
        with node_program(home, port, environment=environment) as node:
            ready = first(listener.wait(len), "READY")
            assert ready.fields["READY"] == "1"
            assert ready.fields["STATUS"].startswith("Disconnected: started, describing the shard")
            listener.wait_state("Idle")
            listener.wait_fed(1)
            director.offer("exp", archive(GATED.format(began=str(began), gate=str(gate))), to=["node-1"])
            listener.wait_state("Training")
            listener.wait_fed(1)
            assert watchdog_deadline(listener.heard, WATCHDOG) < float("inf")
            node.send(signal.SIGTERM)
            listener.wait(lambda heard: any("STOPPING" in n.fields for n in heard))
            checks = len(director.calls_of("UpdateEnvoyStatus"))
            director.wait_for_calls("UpdateEnvoyStatus", checks + 1)
            listener.wait(lambda heard: sum("EXTEND_TIMEOUT_USEC" in n.fields for n in heard) >= 2)
            gate.touch()
            assert node.end() == Exit.OK
        heard = listener.heard
        took = re.findall(r"--> (\w+)", "".join(line for line in node.output.splitlines(True) if "--> -" not in line))
        assert [state for state, _ in groupby(states(heard))] == [state for state, _ in groupby(took)]
        assert {"Idle", "ReviewingPlan", "Training", "Reporting", "Stopped"} <= set(took)
        assert stop_deadline(heard, patience=0.0) > heard[-1].at, "it asked for all the time that it took"
        assert watchdog_deadline(heard, WATCHDOG) == float("inf")
        assert not fed(heard[heard.index(first(heard, "STOPPING")) :])
        given = json.loads(began.read_text())
        assert not [name for name in given if name.startswith(("NOTIFY_", "WATCHDOG_"))]


def test_a_service_whose_director_is_not_there_is_up_and_retries(tmp_path: Path) -> None:
    director = SandboxDirector()
    write_home(tmp_path / "home", tmp_path / "state")
    try:
        with (
            Listener.listening(None) as listener,
            node_program(tmp_path / "home", director.address.port, environment=listener.environment(WATCHDOG)) as node,
        ):
            listener.wait_fed(4)
            assert set(states(listener.heard)) == {"Disconnected"}
            assert "READY" in listener.heard[0].fields
            watchdog_deadline(listener.heard, WATCHDOG)
            node.send(signal.SIGTERM)
            assert node.end() == Exit.OK
            assert states(listener.heard)[-1] == "Stopped"
    finally:
        director.close()


def test_a_manager_that_is_gone_is_missed_once_and_harms_nothing(tmp_path: Path) -> None:
    write_home(tmp_path / "home", tmp_path / "state")
    nowhere = {"NOTIFY_SOCKET": str(tmp_path / "nowhere"), "WATCHDOG_USEC": "20000000"}
    with (
        SandboxDirector(period=1.0) as director,
        node_program(tmp_path / "home", director.address.port, environment=nowhere) as node,
    ):
        node.wait_line("--> Idle")
        director.wait_for_calls("UpdateEnvoyStatus", 2)
        node.send(signal.SIGTERM)
        assert node.end() == Exit.OK
        assert node.output.count("does not hear of this node's state") == 1


class Served(RunningNode):
    """A node in this process whose steps are told to a service manager, as the command line does it."""

    def __init__(self, settings: NodeConfig, listener: Listener, **options: Any) -> None:
        super().__init__(settings, **options)
        self.manager = ServiceManager.from_environment(listener.environment(WATCHDOG), settings.agent)

    def _observe(self, record: Record) -> None:
        self.manager.note(record, self.node.snapshot)
        super()._observe(record)
        self.after(record)

    def after(self, record: Record) -> None:
        """Do nothing; where a test lets an observer hang."""


def hang(patch: pytest.MonkeyPatch, where: type, method: str) -> tuple[threading.Event, Callable[[], None]]:
    """Let the owner hang in a method from its next call on; give an event that tells that it does, and the way out."""
    hangs, goes_on = threading.Event(), threading.Event()
    usual = getattr(where, method)

    def hanging(self: object, *arguments: object) -> object:
        hangs.set()
        goes_on.wait(60)
        return usual(self, *arguments)

    patch.setattr(where, method, hanging)
    return hangs, goes_on.set


@pytest.mark.parametrize(("where", "method"), [(Store, "append"), (Served, "after")], ids=["persist", "observe"])
def test_an_owner_that_hangs_is_not_said_to_be_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: type, method: str
) -> None:
    with Listener.listening(tmp_path) as listener, SandboxDirector(period=1.0) as director:
        node = Served(config(director.address, tmp_path / "state"), listener)
        node.start()
        try:
            node.wait_state(S.IDLE)
            listener.wait_fed(1)
            hangs, go_on = hang(monkeypatch, where, method)
            assert hangs.wait(10)
            before = len(listener.heard)
            # Other threads go on: a period later the director is still being told that this node lives.
            director.wait_for_calls("UpdateEnvoyStatus", len(director.calls_of("UpdateEnvoyStatus")) + 1)
            assert len(listener.heard) == before
            go_on()
            listener.wait_fed(1)
        finally:
            go_on()
            assert node.stop() is Exit.OK
            node.manager.close()


def test_a_monitor_that_died_is_noticed_although_everything_else_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = HealthMonitor._step
    with Listener.listening(tmp_path) as listener, SandboxDirector(period=1.0) as director:
        monkeypatch.setattr(
            HealthMonitor, "_step", lambda self: step(self) and len(director.calls_of("UpdateEnvoyStatus")) < 2
        )
        node = Served(config(director.address, tmp_path / "state", agent__poll=PollSettings(timeout=0.5)), listener)
        node.start()
        try:
            node.wait_state(S.IDLE)
            director.wait_for_calls("UpdateEnvoyStatus", 2)
            node.wait(lambda records: sum(r.event is E.HEALTH_CHECKED for r in records) >= 2)
            # Meanwhile what the last check fed has arrived here.
            director.wait_for_calls("WaitExperiment", len(director.calls_of("WaitExperiment")) + 5)
            before = len(fed(listener.heard))
            director.offer("exp", archive(), to=["node-1"])
            node.wait_event(E.REPORT_DELIVERED)
            node.wait_state(S.IDLE, times=2)
            listener.wait(lambda heard: states(heard)[-1:] == ["Idle"])
            assert len(fed(listener.heard)) == before
        finally:
            assert node.stop() is Exit.OK
            node.manager.close()
