"""Links that are half open: the peer is there, or its address is, and nothing comes back. The real process notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from fedenvoy.testing import Relay
from support.sources import source_path

from chaos.agent import TESTS, Agent, wait_for
from chaos.director import DirectorProcess
from chaos.namespace import UNSHARE
from chaos.place import Experiment, Place
from chaos.replay import illegal

PERIOD, DEADLINE = 1.0, 0.5
WITHIN = 3 * PERIOD + DEADLINE
"""Seconds in which it must be noticed: three health periods and the deadline of a check."""
SLACK = 4.0
"""Seconds that a busy machine may add."""
TIME = 60.0


class HalfOpen:
    """A node whose director is frozen, or behind a relay that loses everything, while it is idle or trains."""

    def __init__(self, root: Path, kind: str, *, training: bool) -> None:
        self.place = Place(root)
        self.kind = kind
        self.training = training

    def run(self) -> None:
        with ExitStack() as stack:
            director = stack.enter_context(DirectorProcess(self.place, PERIOD))
            relay = stack.enter_context(Relay("127.0.0.1", director.port))
            agent = stack.enter_context(Agent(self.place, relay.address.port))
            agent.start()
            if self.training:
                director.offer(Experiment("exp"))
            assert agent.wait_state("Training" if self.training else "Idle", TIME), agent.told()
            begin, end = self._ways(director, relay)
            before, at = len(agent.lines()), time.time()
            begin()
            assert agent.wait_event("director_lost", TIME, since=before), agent.told()
            (lost,) = [line for line in agent.lines()[before:] if line.event == "director_lost"]
            assert lost.at - at < WITHIN + SLACK
            assert lost.target == ("Training" if self.training else "Disconnected")
            end()
            self.place.open_gate("exp")
            assert wait_for(lambda: self._home(agent, director), TIME), agent.told()
            assert agent.stop() == 0
            assert illegal(agent.lines(), broken_off=0) == []
            assert [line.event for line in agent.lines()].count("training_finished") == self.training

    def _ways(self, director: DirectorProcess, relay: Relay) -> tuple[Callable[[], object], Callable[[], object]]:
        if self.kind == "frozen":
            return director.freeze, director.thaw
        return relay.swallow, relay.restore

    def _home(self, agent: Agent, director: DirectorProcess) -> bool:
        told = director.state()
        return agent.state == "Idle" and not agent.outbox() and told["registered"] and not told["unfinished"]


def test_B12_a_half_open_link_is_noticed_in_time_idle_and_training(tmp_path: Path) -> None:
    cases = [(kind, training) for kind in ("frozen", "swallowed") for training in (False, True)]
    with ThreadPoolExecutor(4) as pool:
        running = [
            pool.submit(HalfOpen(tmp_path / f"{kind}-{training}", kind, training=training).run)
            for kind, training in cases
        ]
        for done in running:
            done.result()


def test_B12_packets_dropped_on_the_wire_are_noticed_in_time(tmp_path: Path) -> None:
    if subprocess.run([*UNSHARE, "ip", "link", "show"], capture_output=True, check=False).returncode:
        pytest.skip("this system gives its users no network namespaces")
    argv = [*UNSHARE, sys.executable, "-m", "chaos.namespace", str(tmp_path)]
    path = os.pathsep.join(filter(None, (source_path(), str(TESTS))))
    done = subprocess.run(
        argv, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=TIME * 1.5, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["noticed_at"] - told["lost_at"] < WITHIN + SLACK
    wanted = {"idle": True, "noticed": True, "retried": True, "idle_again": True, "exit_code": 0}
    assert {name: told[name] for name in wanted} == wanted
