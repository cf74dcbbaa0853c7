"""kill -9 of the real agent at one instant after the other, in one state directory, and what the next start does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from fedenvoy.testing import SandboxDirector

from chaos.agent import Agent, wait_for
from chaos.place import NODE, Experiment, Place
from chaos.replay import illegal, sent, verdicts

TIME = 60.0
TWENTY = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 6, 7, 8, 5, 9, 6, 7, 4, 3, 11)
"""The number of the record of each session upon which it is killed: from the very start to the second experiment."""
HELD_IN = ("", "Training", "", "Reporting")
"""Some sessions are held where they would be only for a moment, so that they are killed there."""


class Kills:
    """A node that is killed again and again while its director has one experiment after the other for it."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.place = Place(root)
        self.director = stack.enter_context(SandboxDirector(period=1.0, chunk_size=256, reoffers=True))
        self.agent = stack.enter_context(Agent(self.place, self.director.address.port))
        self.submitted: list[str] = []
        self.held_in = ""
        self._registrations = 0

    def submit(self) -> None:
        """Submit the next experiment: one that finishes, one that fails, in turn; some install."""
        number = len(self.submitted)
        experiment = Experiment(f"exp-{number}", "fail" if number % 2 else "leave", installs=number % 7 == 3)
        name, director = experiment.name, self.director
        if self.held_in != "Training":
            self.place.open_gate(name)
        director.offer(
            name,
            self.place.archive(experiment),
            [NODE],
            over=lambda: self.place.has(name, "done") or bool(director.experiments[name].failed),
        )
        self.submitted.append(name)

    def start(self) -> None:
        """Start the agent and look at what it has left when it dials: nothing of an earlier session may be there."""
        held = self.director.hold("UpdateShardInfo", 1)
        self.agent.start()
        self._registrations += 1
        self.director.wait_for_calls("UpdateShardInfo", self._registrations, timeout=TIME)
        assert not self.agent.leftovers(), "a process of an earlier session is there at the first dial"
        assert not self.place.runs, "files of an earlier session are there at the first dial"
        self._sessions_are_closed()
        held.release()

    def _sessions_are_closed(self) -> None:
        assert self.agent.ends() == ("killed",) * (self.agent.starts - 1) + ("",)

    def kill_at(self, record: int, held_in: str) -> None:
        """Kill it upon a record of its present session; where it has nothing to do, it gets an experiment.

        Args:
            record: The record's number.
            held_in: The state in which it is held, and killed should it come there first; empty: none.

        """
        self.held_in = held_in
        held = self.director.hold("SetExperimentFailed") if held_in == "Reporting" else None

        def come() -> bool:
            session = self.agent.session()
            if not self.unfinished() and any(line.target == "Idle" for line in session):
                self.submit()
            return bool(session) and (len(session) >= record or session[-1].target == held_in)

        assert wait_for(come, TIME), self.agent.told()[-2000:]
        self.agent.kill()
        self.held_in = ""
        for name in self.submitted:
            self.place.open_gate(name)
        if held is not None:
            held.release()

    def unfinished(self) -> list[str]:
        """Give the experiments that the director would still offer."""
        return [name for name, experiment in self.director.experiments.items() if not experiment.is_over]

    def at_home(self) -> bool:
        """Whether everything is told."""
        return self.agent.state == "Idle" and not self.agent.outbox() and not self.unfinished()

    def run(self, records: Sequence[int]) -> None:
        """Kill it upon each of these; then let it be, and judge."""
        self.submit()
        for number, record in enumerate(records):
            self.start()
            self.kill_at(record, HELD_IN[number % len(HELD_IN)])
        self.start()
        self.submit()
        assert wait_for(self.at_home, TIME), [str(line) for line in self.agent.session()]
        assert self.agent.stop() == 0
        lines = self.agent.lines()
        assert illegal(lines, broken_off=len(records)) == []
        assert len(verdicts(lines)) == len(sent(lines))
        failed = {line.experiment for line in verdicts(lines, reported=True)}
        assert {report.experiment_name for report in self.director.reports} >= failed
        assert not self.place.runs
        assert not self.agent.leftovers()
        assert not self.place.overlapped
        assert not list(self.place.tmp.iterdir()), "temporary files are left"


def kill_again_and_again(root: Path, records: Sequence[int]) -> None:
    with ExitStack() as stack:
        Kills(root, stack).run(records)


@pytest.mark.timeout(300)
def test_B6_B83_twenty_kills_of_the_agent_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        halves = [
            pool.submit(kill_again_and_again, tmp_path / name, TWENTY[start::2]) for start, name in enumerate("ab")
        ]
        for half in halves:
            half.result()


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_B6_B83_two_hundred_kills_at_random_lose_nothing(tmp_path: Path) -> None:
    rng = random.Random(200)
    kill_again_and_again(tmp_path, [rng.randint(1, 14) for _ in range(200)])
