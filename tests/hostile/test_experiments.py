"""One agent and many experiments that harm as they can: each is told for what it was, and the next good one finishes.

The agent is the real one, and so are the processes; only the director is the tests' own. What an experiment can reach
of the agent, its keys and its socket, is `test_isolation.py`'s matter; here it is what it can use up and leave behind.
"""

from __future__ import annotations

import gc
import itertools
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from fedenvoy.commands import Record
from fedenvoy.config import ReportSettings
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import RunningNode, config
from support.archives import GOOD, archive
from support.hostile import EITHER, HOSTILE, LIMITS, Case, code_of

E, S = Event, State
ENDS = {E.TRAINING_FINISHED, E.TRAINING_FAILED, E.EXPERIMENT_ORPHANED, E.CANCEL_REQUESTED}
LEVELS = ("sandbox", "process")
MARK = "8641"
"""How the sleeping programs begin that experiments leave behind: `sleep 8641...`."""


class Desk:
    """A director and a node that serve one experiment after the other."""

    def __init__(self, level: str, state: Path) -> None:
        self.level, self.state = level, state
        self._count = itertools.count(1)
        self._stack = ExitStack()
        self.director = self._stack.enter_context(SandboxDirector())
        settings = config(
            self.director.address,
            state,
            agent__isolation=level,
            agent__kill_grace=0.5,
            agent__child=LIMITS,
            agent__report=ReportSettings(detail="summary"),
        )
        self.node = RunningNode(settings).start()

    def run(self, source: str, name: str, patience: float = 60.0) -> Record:
        """Offer an experiment and give the record of its end, when everything of it is gone."""
        self.director.offer(name, archive(source), to=["node-1"])
        records = self.node.wait(
            lambda found: any(one.event in ENDS and one.experiment == name for one in found), patience
        )
        (end,) = [one for one in records if one.event in ENDS and one.experiment == name]
        self.node.wait(lambda found: found[-1].target is S.IDLE and found[-1].number > end.number)
        self.director.remove(name)
        return end

    def tried(self, case: Case, name: str, patience: float = 60.0) -> Record:
        """Run a hostile experiment and a good one after it; give the first one's end."""
        number = next(self._count)
        end = self.run(code_of(case), f"bad {number} {name}", patience)
        good = self.run(GOOD, f"good {number}")
        assert good.event is E.TRAINING_FINISHED, good.cause
        assert good.cause == "sum=52", good.cause
        return end

    def left(self) -> list[str]:
        """Give what the past runs left: files in the directory for runs, processes of theirs."""
        return [str(path) for path in self.state.glob("*/runs/*")] + sleepers()

    def close(self) -> None:
        self.node.node.stop()
        self.node.join()
        self._stack.close()


def sleepers() -> list[str]:
    """Give the programs that experiments left behind, as far as they still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"sleep\0" + MARK.encode()):
            found.append(f"{entry.name}: {line!r}")
    return found


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[[str], Desk]]:
    with ExitStack() as stack:

        def make(level: str) -> Desk:
            desk = Desk(level, tmp_path / "state")
            stack.callback(desk.close)
            return desk

        yield make


def wrong(desk: Desk, cases: Mapping[str, Case]) -> list[str]:
    """Try one case after the other with the same agent; give what was not as it should be."""
    found = []
    for name, case in cases.items():
        end = desk.tried(case, name)
        wanted = {E.TRAINING_FAILED} if case.cause else {E.TRAINING_FINISHED}
        if case.cause == EITHER:
            wanted = {E.TRAINING_FAILED, E.TRAINING_FINISHED}
        elif case.cause and not re.fullmatch(case.cause, end.cause, re.DOTALL):
            found.append(f"{name}: cause {end.cause!r}")
        if end.event not in wanted:
            found.append(f"{name}: {end.event}: {end.cause!r}")
        found += [f"{name}: left {what}" for what in desk.left()]
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_B50_B54_B83_one_agent_outlives_what_harms(level: str, open_desk: Callable[[str], Desk]) -> None:
    """The few of all times: at the default level all of them, at the other one those that no wall holds."""
    few = {name: case for name, case in HOSTILE.items() if case.everywhere or (case.always and level == LEVELS[0])}
    assert wrong(open_desk(level), few) == []


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("level", LEVELS)
def test_B50_B54_B83_one_agent_outlives_all_that_harm(level: str, open_desk: Callable[[str], Desk]) -> None:
    cases = {name: case for name, case in HOSTILE.items() if case.level in {"", level}}
    assert wrong(open_desk(level), cases) == []


def test_B52_an_experiment_that_does_not_listen_is_ended_all_the_same(open_desk: Callable[[str], Desk]) -> None:
    desk = open_desk(LEVELS[0])
    deaf = Case("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True:\n    time.sleep(60)", "")
    desk.director.offer("deaf", archive(code_of(deaf)), to=["node-1"])
    desk.node.wait_state(S.TRAINING)
    desk.node.node.cancel("no more of this")
    desk.node.wait_event(E.REPORT_DELIVERED)
    assert desk.run(GOOD, "good").event is E.TRAINING_FINISHED
    assert desk.left() == []


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_an_experiment_that_prints_10_gb_keeps_a_bounded_log(open_desk: Callable[[str], Desk]) -> None:
    desk = open_desk(LEVELS[0])
    talker = Case("line = b'x' * 65535 + b'\\n'\nfor _ in range(160 * 1024):\n    os.write(1, line)", "")
    assert desk.tried(talker, "talker", 800).event is E.TRAINING_FINISHED
    kept = [path for path in desk.state.glob("*/logs/*/*") if path.name.startswith("child")]
    assert sum(path.stat().st_size for path in kept) < 1.1 * LIMITS.output
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_fifty_experiments_in_a_row_leave_the_agent_as_it_was(open_desk: Callable[[str], Desk]) -> None:
    desk = open_desk(LEVELS[0])
    kinds = ("ends without a word", "crashes", "leaves threads", "fills the memory", "is a fork bomb")

    def ten() -> Footprint:
        for name in kinds:
            desk.tried(HOSTILE[name], name)
        gc.collect()
        return Footprint.now()

    first = ten()
    rounds = [ten() for _ in range(4)]
    # One more or less may be on its way out; what is left behind by each experiment would be forty.
    assert max(one.threads for one in rounds) <= first.threads + 3, rounds
    assert max(one.files for one in rounds) <= first.files + 3, rounds
    assert rounds[-1].memory - first.memory < 8 * 2**20, [one.memory for one in (first, *rounds)]


class Footprint(NamedTuple):
    """What this process, and the agent with it, takes."""

    threads: int
    files: int
    memory: int

    @classmethod
    def now(cls) -> Footprint:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE")
        )
