"""The real director dies and comes back empty, or freezes, while its experiment trains on our nodes."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chaos.replay import Line, illegal, read_journal
from fedenvoy_statecharts import Event, State
from interop.test_recovery import SEEN, SLOW, A, B, is_over, training_of, wait_for

if TYPE_CHECKING:
    from interop.conftest import Federation, Start

PERIOD = 5.0
"""Seconds between health checks, as the demo's director wants them."""


def in_training(group: Federation, marks: Path) -> dict[str, tuple[str, str]]:
    """Submit a slow experiment to both nodes; give process and workspace of each one's training."""
    marks.touch()
    for name in (A, B):
        group.node(name, settings={**SEEN, "orphan_timeout": 4})
    group.submit(SLOW.format(marks=str(marks)))
    return {name: wait_for(lambda n=name: training_of(n, marks), group.deadline) for name in (A, B)}  # type: ignore[misc]


def lines(group: Federation, name: str) -> tuple[Line, ...]:
    """Give a node's journal."""
    return tuple(line for path in (group.place / name).glob("state/*/journal.sqlite3") for line in read_journal(path))


def events(group: Federation, name: str) -> list[str]:
    """Give the events in a node's journal."""
    return [line.event for line in lines(group, name)]


def lose_the_director(group: Federation, marks: Path) -> None:
    """Kill it in training, start it again, and see both nodes come home without anybody's help."""
    trained = in_training(group, marks)
    group.kill_director()
    for name in (A, B):
        wait_for(lambda n=name: Event.DIRECTOR_LOST in events(group, n) or None, group.deadline)  # type: ignore[misc]
        assert group.views[name].state != State.DISCONNECTED, "a run in hand goes on"
    group.start_director()
    for name, (pid, workspace) in trained.items():
        view = group.wait(name, lambda view: view.done)
        assert view.path.count(State.TRAINING) == 1
        wait_for(lambda p=pid: is_over(p) or None, group.deadline)  # type: ignore[misc]
        assert not Path(workspace).exists()
        told = events(group, name)
        assert Event.SHARD_FORGOTTEN in told
        assert Event.EXPERIMENT_ORPHANED in told
        assert illegal(lines(group, name), broken_off=1) == []


def test_B2_B24_B47_a_director_that_died_in_training_finds_its_nodes_again(federation: Start, tmp_path: Path) -> None:
    lose_the_director(federation({}), tmp_path / "marks")


@pytest.mark.nightly
def test_B2_B47_a_director_that_died_in_training_has_its_next_experiment_run(federation: Start, tmp_path: Path) -> None:
    group = federation({})
    lose_the_director(group, tmp_path / "marks")
    assert group.outcome(group.submit(name="again")).status == "finished"


@pytest.mark.nightly
def test_B12_B24_a_director_that_is_frozen_for_several_periods_gets_its_experiment_finished(
    federation: Start, tmp_path: Path
) -> None:
    group = federation({})
    marks = tmp_path / "marks"
    marks.touch()
    for name in (A, B):
        group.node(name, settings=SEEN)
    person = group.submit(SLOW.format(marks=str(marks)))
    for name in (A, B):
        wait_for(lambda n=name: training_of(n, marks), group.deadline)  # type: ignore[misc]
    group.director.child.signal(signal.SIGSTOP)
    try:
        for name in (A, B):
            wait_for(lambda n=name: Event.DIRECTOR_LOST in events(group, n) or None, group.deadline)  # type: ignore[misc]
        threading.Event().wait(2 * PERIOD)  # it stays frozen: nothing is to be seen meanwhile
    finally:
        group.director.child.signal(signal.SIGCONT)
    assert group.outcome(person).status == "finished"
    for name in (A, B):
        assert group.wait(name, lambda view: view.done).path.count(State.TRAINING) == 1
