"""A table: what the line does, by the state that the real process is in; it ends Idle, with everything told."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from fedenvoy.testing import Held, Relay, SandboxDirector
from fedenvoy_statecharts import State

from chaos.agent import Agent, wait_for
from chaos.place import NODE, Experiment, Place
from chaos.replay import illegal, sent, verdicts

S = State
STATES = (S.REGISTERED, S.IDLE, S.REVIEWING_PLAN, S.INSTALLING_REQUIREMENTS, S.TRAINING, S.REPORTING)
NOTICED = {"director_lost", "health_missed", "poll_failed", "fetch_interrupted", "report_failed", "registration_failed"}
"""Any of these tells that the node has felt it."""
TIME = 60.0


class Case:
    """One line of the table: a node that is in a state when the line does something, until it is felt."""

    def __init__(self, root: Path, state: State, kind: str) -> None:
        self.place = Place(root)
        self.state = state
        self.kind = kind
        self.experiment = Experiment(
            "exp", "fail" if state is S.REPORTING else "finish", state is S.INSTALLING_REQUIREMENTS
        )

    def run(self) -> str:
        """Carry it out; give what is wrong, empty where all is well."""
        with ExitStack() as stack:
            director = stack.enter_context(SandboxDirector(period=1.0, chunk_size=256, reoffers=True))
            relay = stack.enter_context(Relay(director.address.host, director.address.port))
            agent = stack.enter_context(Agent(self.place, relay.address.port))
            held = self._hold(director)
            agent.start()
            if not agent.wait_state(self.state, TIME):
                return f"did not come to {self.state}: {agent.told()[-2000:]}"
            before = len(agent.lines())
            {"cut": relay.cut, "swallow": relay.swallow, "refuse": relay.refuse}[self.kind]()
            if self.kind == "refuse":
                relay.reset_all()  # what is there goes on behind such a firewall; here it must come again, and may not
            if not wait_for(lambda: any(line.event in NOTICED for line in agent.lines()[before:]), TIME):
                return f"did not feel that the relay was told to {self.kind}"
            for one in held:
                one.release()
            relay.restore()
            self.place.open_gate(self.experiment.name)
            if self.state is S.IDLE:
                self._offer(director)
            if not wait_for(lambda: self._home(agent, director), TIME):
                return f"is not at home: {[str(line) for line in agent.session()[-6:]]}, outbox {agent.outbox()}"
            if agent.stop() != 0:
                return "did not end with 0"
            return self._judge(agent, director)

    def _hold(self, director: SandboxDirector) -> list[Held]:
        if self.state is S.IDLE:
            return []
        if self.state is S.REPORTING:
            self.place.open_gate(self.experiment.name)
        methods = {S.REGISTERED: "UpdateEnvoyStatus", S.REPORTING: "SetExperimentFailed"}
        held = []
        if self.state in methods:
            held.append(director.hold(methods[self.state], 1))
        if self.state is S.REVIEWING_PLAN:
            held.append(director.hold("GetExperimentData", 1, after_chunks=1))
        self._offer(director)
        return held

    def _offer(self, director: SandboxDirector) -> None:
        name, place = self.experiment.name, self.place
        director.offer(name, place.archive(self.experiment), [NODE], over=lambda: place.has(name, "done"))

    def _home(self, agent: Agent, director: SandboxDirector) -> bool:
        node = director.nodes.get(NODE)
        free = agent.state == S.IDLE and not agent.outbox() and node is not None and not node.running
        return free and (self.place.has("exp", "done") or bool(director.reports))

    def _judge(self, agent: Agent, director: SandboxDirector) -> str:
        lines = agent.lines()
        found = illegal(lines, broken_off=0)
        if len(verdicts(lines)) != len(sent(lines)):
            found.append(f"{len(verdicts(lines))} verdicts, {len(sent(lines))} sent")
        if verdicts(lines, reported=True) and {report.experiment_name for report in director.reports} != {"exp"}:
            found.append("the failure was not told")
        if self.place.runs or agent.leftovers() or self.place.overlapped:
            found.append(f"left: {self.place.runs}, {agent.leftovers()}; overlapped: {self.place.overlapped}")
        return "; ".join(found)


def run_table(root: Path, kinds: Iterable[str]) -> dict[str, str]:
    """Run cases side by side, for most of their time is waiting; give what is wrong by case."""
    cases = {f"{kind} in {state}": Case(root / f"{kind}-{state}", state, kind) for kind in kinds for state in STATES}
    with ThreadPoolExecutor(6) as pool:
        running = {name: pool.submit(case.run) for name, case in cases.items()}
        return {name: words for name, done in running.items() if (words := done.result())}


@pytest.mark.timeout(300)
def test_B1_B12_packets_that_vanish_in_any_state_lose_nothing(tmp_path: Path) -> None:
    assert run_table(tmp_path, ["swallow"]) == {}


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_B1_B15_a_link_that_is_cut_or_refused_in_any_state_loses_nothing(tmp_path: Path) -> None:
    assert run_table(tmp_path, ["cut", "refuse"]) == {}
