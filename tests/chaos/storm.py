"""Carries a schedule out, lets everything heal, and judges what is left."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedenvoy.testing import Relay
from fedenvoy_statecharts import State

from chaos.agent import Agent, wait_for
from chaos.director import DirectorProcess
from chaos.place import Experiment, Place
from chaos.processes import kill
from chaos.replay import illegal, sent, verdicts
from chaos.schedule import Act, Fault, Schedule

__all__ = ["Outcome", "Storm", "run"]

REACH = 8.0
"""Seconds that a state to be held in has to come; what goes wrong before may keep it from coming."""
HOME = 90.0
"""Seconds after which, with all faults over, everything must have been told."""
EXIT_CODES = {0, 8}
"""Of an agent that was asked to end, once or twice."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one schedule ended.

    Attributes:
        seed: Its seed.
        wrong: Everything that must not be; empty where all is well.
        seconds: How long it took.
        home: Seconds from the end of the last fault until everything was told.
        sessions: Processes of the agent.
        records: Lines of the journal.
        verdicts: How many were made.

    """

    seed: int
    wrong: tuple[str, ...]
    seconds: float
    home: float
    sessions: int
    records: int
    verdicts: int


class Storm:
    """One schedule with its processes; faults are begun and ended by name."""

    def __init__(
        self, place: Place, director: DirectorProcess, relay: Relay, agent: Agent, settings: Mapping[str, Any]
    ) -> None:
        self.place = place
        self.settings = settings
        self.director = director
        self.relay = relay
        self.agent = agent
        self._leaving = 0
        self._begin: dict[str, Callable[[], object]] = {
            "director killed": director.kill,
            "director restarted": director.restart,
            "director frozen": director.freeze,
            "relay cut": relay.cut,
            "relay swallows": relay.swallow,
            "replies lost": lambda: relay.swallow(requests=False),
            "relay refuses": relay.refuse,
            "relay slow": lambda: relay.delay(0.3),
            "connections reset": relay.reset_all,
            "agent killed": agent.kill,
            "agent stopped": lambda: self._leave(1),
            "agent stopped twice": lambda: self._leave(2),
            "agent frozen": lambda: agent.signal(signal.SIGSTOP),
            "child killed": lambda: kill(agent.experiments()[1]) if agent.alive else None,
            "guard killed": lambda: kill(agent.experiments()[0]) if agent.alive else None,
            "uv killed": lambda: kill(agent.installers()) if agent.alive else None,
        }
        self.wrong: list[str] = []

    def _leave(self, times: int) -> None:
        for _ in range(times):
            self.agent.signal(signal.SIGTERM)
            time.sleep(0.05)  # two signals of a kind that wait together are one
        self._leaving = 1

    def begin(self, fault: Fault) -> None:
        """Let it go wrong."""
        self._begin[fault.kind]()

    def end(self, fault: Fault) -> None:
        """Let it be over."""
        if fault.kind.startswith("director"):
            self._restore_director()
        elif fault.kind.startswith(("relay", "replies")):
            self.relay.restore()
        elif fault.kind == "agent frozen":
            self.agent.signal(signal.SIGCONT)
        elif fault.kind.startswith("agent"):
            self._restore_agent()

    def _restore_director(self) -> None:
        self.director.thaw()
        if not self.director.up:
            self.director.start()

    def _restore_agent(self) -> None:
        if self._leaving:
            self._leaving = 0
            self.agent.signal(signal.SIGCONT)
            self._judge_end(self.agent.wait(30))
        if not self.agent.alive:
            self.agent.start()

    def _judge_end(self, code: int | None) -> None:
        """Judge the end of an agent that was asked to end; one that was killed or had not begun just ends."""
        if code is None:
            self.wrong.append("a stop was asked for, and the agent is still there after 30 s")
            self.agent.kill()
            return
        unborn = code == -signal.SIGTERM and not self.agent.session()
        if code not in {*EXIT_CODES, -signal.SIGKILL} and not unborn:
            self.wrong.append(f"a stop was asked for, and the agent ended with {code}")

    def heal(self) -> None:
        """End whatever goes wrong."""
        self.relay.restore()
        self._restore_director()
        self.director.heal()
        self.agent.signal(signal.SIGCONT)
        self._restore_agent()

    def act(self, act: Act) -> None:
        """Submit, hold, let it go wrong, and let it go on."""
        if act.state is State.IDLE:
            self._go_wrong(act.faults)
            self._submit(act)
        else:
            self._submit(act)
            self.agent.wait_state(act.state, REACH)
            self._go_wrong(act.faults)
        self.place.open_gate(act.experiment.name)
        self.director.heal()
        if act.patient:
            wait_for(lambda: not self.director.state()["unfinished"], REACH)

    def _submit(self, act: Act) -> None:
        if act.state is State.REVIEWING_PLAN:
            self.director.hold("GetExperimentData", after_chunks=1)
        elif act.state is State.REPORTING:
            self.director.hold("SetExperimentFailed")
        if act.state in {State.REPORTING, State.IDLE}:
            self.place.open_gate(act.experiment.name)
        self.director.offer(act.experiment)

    def _go_wrong(self, faults: tuple[Fault, ...]) -> None:
        for fault in faults:
            time.sleep(fault.pause)
            self.begin(fault)
        time.sleep(max(fault.lasts for fault in faults))
        for fault in faults:
            self.end(fault)

    def told_everything(self) -> bool:
        """Whether the node is free, has nothing to tell, and the director has nothing that it would offer."""
        if self.agent.state != State.IDLE or self.agent.outbox():
            return False
        told = self.director.state()
        return bool(told["registered"] and not told["running"] and told["parked"] and not told["unfinished"])

    def why_not(self) -> str:
        """Say what keeps the node from being at home."""
        last = [str(line) for line in self.agent.session()[-6:]]
        return f"outbox {self.agent.outbox()}, director {self.director.state()}, journal {last}"

    def judge(self) -> list[str]:
        """Give everything that is wrong now that the agent has ended."""
        lines = self.agent.lines()
        found = [*self.wrong, *illegal(lines, broken_off=self.agent.kills)]
        made, told = len(verdicts(lines)), len(sent(lines)) + len(self.agent.outbox())
        # Where an interrupted run counts as failed, the next session makes its verdict, without a line of its own.
        interrupted = self.agent.starts - 1 if self.settings["on_interrupted"] == "fail" else 0
        if not made <= told <= made + interrupted:
            found.append(f"{made} verdicts were made, {told} are sent or in the outbox")
        if "" in self.agent.ends() or self.agent.ends()[-1] != "stopped":
            found.append(f"sessions that are not closed: {self.agent.ends()}")
        reported = {note["experiment"] for note in self.director.notes("SetExperimentFailed")}
        found += [
            f"nobody was told of {line}" for line in verdicts(lines, reported=True) if line.experiment not in reported
        ]
        if self.place.runs:
            found.append(f"left in runs: {[path.name for path in self.place.runs]}")
        if self.place.overlapped:
            found.append("two experiments ran at once")
        for words in ("Traceback", "failed unexpectedly", "could not be begun"):
            if words in self.agent.told():
                found.append(f"the log has {words!r}")
        return found


def run(schedule: Schedule, root: Path) -> Outcome:
    """Carry a schedule out below a directory, and judge it."""
    began = time.monotonic()
    place = Place(root)
    with ExitStack() as stack:
        director = stack.enter_context(DirectorProcess(place))
        relay = stack.enter_context(Relay("127.0.0.1", director.port))
        agent = stack.enter_context(Agent(place, relay.address.port, settings=schedule.settings))
        storm = Storm(place, director, relay, agent, schedule.settings)
        agent.start()
        agent.wait_state(State.IDLE)
        for act in schedule.acts:
            storm.act(act)
        storm.heal()
        healed = time.monotonic()
        last = Experiment("last")
        place.open_gate(last.name)
        director.offer(last)
        wrong = []
        wait_for(lambda: storm.told_everything() or not agent.alive, HOME)
        if not storm.told_everything():
            wrong.append(f"not everything is told {HOME:g} s after the last fault: {storm.why_not()}")
        home = time.monotonic() - healed
        if outliving := _settled(agent):
            wrong.append(f"processes that outlive their experiments: {outliving}")
        if (code := agent.stop()) != 0:
            wrong.append(f"asked to stop at the end, the agent ended with {code}")
            agent.kill()
        if left := agent.leftovers():
            wrong.append(f"processes that outlive the agent: {[seen.command for seen in left]}")
        wrong += storm.judge()
        lines = agent.lines()
        seconds = time.monotonic() - began
        return Outcome(schedule.seed, tuple(wrong), seconds, home, agent.starts, len(lines), len(verdicts(lines)))


def _settled(agent: Agent) -> list[str]:
    """Give what still runs beside a free agent, once the end of the last run has had time to be over."""
    with contextlib.suppress(ProcessLookupError):
        wait_for(lambda: not agent.leftovers(), 10)
    return [seen.command for seen in agent.leftovers()]
