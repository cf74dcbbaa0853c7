"""The whole agent in simulation: thousands of histories without a wrong, and planted mistakes that are found."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner
from fedenvoy.app.past import carried_over
from fedenvoy.commands import Record
from fedenvoy.core import CarriedOver
from fedenvoy.store import Store
from fedenvoy_statecharts import LIFECYCLE

from simulation.__main__ import main
from simulation.campaign import Campaign, Case, cases_of, every_kill, quiet, run_cases
from simulation.disk import Disk
from simulation.history import run_history
from simulation.plants import PLANTS

TESTS = Path(__file__).parent.parent

SELDOM = {
    "believes late answers of activities",
    "believes late answers of links",
    "believes messages of earlier runs",
    "redials on the old link epoch",
}
"""Mistakes that only show when several rare things meet: looked for in the nightly tier."""


def explain(campaign: Campaign) -> str:
    return "\n" + "\n".join(campaign.lines())


@pytest.mark.timeout(600)
def test_two_thousand_histories_go_well() -> None:
    campaign = run_cases(cases_of(range(2000), kill_seeds=()))
    assert not campaign.wrong, explain(campaign)
    assert campaign.histories == 2000
    # A simulation that goes nowhere finds nothing: nearly every row of the table was taken, and many runs ended.
    assert len(campaign.never_taken) < len(LIFECYCLE.rows) / 8, campaign.never_taken
    assert campaign.sums["verdicts"] > 4000
    assert campaign.sums["sessions"] > 3500


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 5, 12])
def test_B83_the_agent_may_be_killed_before_and_after_every_record(seed: int) -> None:
    campaign = run_cases(every_kill(seed))
    assert not campaign.wrong, explain(campaign)
    assert campaign.histories > 60


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_fifty_thousand_histories_go_well() -> None:
    campaign = run_cases(cases_of(range(2000, 52000), kill_seeds=range(2000, 2050)), jobs=os.cpu_count() or 1)
    assert not campaign.wrong, explain(campaign)


def test_a_seed_is_one_history_byte_for_byte() -> None:
    for seed in range(6):
        first, second, untraced = Case(seed).run(traced=True), Case(seed).run(traced=True), Case(seed).run()
        assert first.trace
        assert first.trace == second.trace
        assert (first.records, first.virtual, first.rows) == (untraced.records, untraced.virtual, untraced.rows)


def test_machines_that_are_used_again_change_nothing() -> None:
    for seed in (10, 43, 65):
        with quiet():
            again, fresh = run_history(seed, traced=True), run_history(seed, traced=True, fresh=True)
        assert again.trace == fresh.trace


def test_a_history_is_the_same_in_every_process() -> None:
    def trace(hash_seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "simulation", "--seed", "10"]
        return subprocess.run(command, env=environment, cwd=TESTS, check=True, capture_output=True).stdout

    assert trace("1") == trace("2")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", [name for name in PLANTS if name not in SELDOM])
def test_a_planted_mistake_is_found(plant: str) -> None:
    found = next((seed for seed in range(2000) if Case(seed, plant=plant).run().wrong), None)
    assert found is not None, f"2,000 histories do not show an agent that {plant}"
    assert not Case(found).run().wrong, "it is the mistake that is found, not something else"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("plant", sorted(SELDOM))
def test_a_planted_mistake_that_seldom_shows_is_found(plant: str) -> None:
    assert any(Case(seed, plant=plant).run().wrong for seed in range(20_000))


def test_a_wrong_is_told_with_the_command_that_shows_it_again() -> None:
    plant = "does not poll when it becomes idle"
    failing = Case(0, plant=plant)
    campaign = run_cases([Case(1), failing])
    assert [case for case, _ in campaign.wrong] == [failing]
    assert f"python -m simulation --seed 0 --plant '{plant}'" in explain(campaign)
    runner = CliRunner()
    result = runner.invoke(main, ["--seed", "0", "--plant", plant])
    assert result.exit_code == 1
    assert "WRONG" in result.output
    assert result.output.splitlines()[:-1] == failing.run(traced=True).trace
    smaller = runner.invoke(main, ["--seed", "0", "--plant", plant, "--shrink"])
    assert "WRONG" in smaller.output


def test_the_command_line_runs_many_and_writes_the_result(tmp_path: Path) -> None:
    out = tmp_path / "results" / "simulation.json"
    result = CliRunner().invoke(main, ["--schedules", "5", "--first", "7", "--kills", "1", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert '"wrong": []' in out.read_text(encoding="utf-8")
    assert "rows taken" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "x"], "'x' is not a valid integer"),
        (["--seed", "1", "--kill", "17"], "'17' is not of the form before:12 or after:12"),
        (["--seed", "1", "--without", "a"], "'a' is not a list of numbers"),
        (["--seed", "1", "--plant", "nothing"], "'nothing' is not one of"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert words in result.output


class TwinDisk(Disk):
    """A simulated disk that writes everything to a real store as well, and holds the two against each other."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._ticks = count(1)
        self._store: Store | None = None
        self._session = ""
        self.compared = 0

    def append(self, session: str, record: Record) -> None:
        super().append(session, record)
        if session != self._session or self._store is None:
            self.close()
            self._session = session
            self._store = Store(self._directory, session=session, clock=lambda: float(next(self._ticks)))
        self._store.append(record)

    def carried(self) -> CarriedOver:
        carried = super().carried()
        if self._store is not None:
            self.close()
            with_store = Store(self._directory, session="reader")
            assert carried == carried_over(with_store)
            with_store.close()
            self.compared += 1
        return carried

    def close(self) -> None:
        if self._store is not None:
            lines = [line.record for line in self.journal if line.session == self._session]
            kept = self._store.journal()
            assert [(k.number, k.row, k.event, k.cause) for k in kept] == [
                (r.number, r.row, r.event.value, r.cause) for r in lines
            ]
            self._store.close()
            self._store = None


def test_the_simulated_disk_keeps_what_the_real_store_keeps(tmp_path: Path) -> None:
    sessions = 0
    for seed in (21, 25, 67, 72):
        disk = TwinDisk(tmp_path / str(seed))
        with quiet():
            history = run_history(seed, disk=disk)
        disk.close()
        assert not history.wrong
        sessions += disk.compared
    assert sessions > 8
