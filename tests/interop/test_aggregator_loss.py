"""The real collaborator when its aggregator dies, or freezes, or loses a peer: it waits, but not for ever."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fedenvoy.errors import Exit
from fedenvoy_statecharts import Event, State
from interop.test_recovery import SEEN, SLOW, A, B, is_over, journal, training_of, wait_for

if TYPE_CHECKING:
    from fedenvoy.demo.child import Child
    from interop.conftest import Federation, Start

BOUND = 6
"""Seconds of `agent.aggregator_timeout` where it is to be seen at work."""


def told(group: Federation, name: str, event: Event) -> dict[str, object] | None:
    """Give what a node told of an event, once it has."""
    found = (line for line in journal(group.place / name / f"{name}.log") if line["event"] == event)
    return next(found, None)


def trained(group: Federation, marks: Path, bound: int) -> tuple[Child, str, str]:
    """Have one node train for a director; give the submission, and the training's process and workspace."""
    marks.touch()
    group.node(A, settings={**SEEN, "aggregator_timeout": bound, "orphan_timeout": 300})
    person = group.submit(SLOW.format(marks=str(marks)), online=(A,))
    pid, workspace = wait_for(lambda: training_of(A, marks), group.deadline)
    return person, pid, workspace


def orphaned(group: Federation) -> None:
    """Wait until the node's process has given up, and see what it said."""
    line = wait_for(lambda: told(group, A, Event.EXPERIMENT_ORPHANED), group.deadline)
    assert str(line["cause"]).startswith("aggregator: the aggregator at ")
    assert f"has answered nothing for {BOUND} seconds (agent.aggregator_timeout)" in str(line["cause"])
    assert not told(group, A, Event.TRAINING_FAILED)


@pytest.mark.nightly
def test_B46_a_collaborator_whose_aggregator_died_gives_up_and_sets_its_node_free(
    federation: Start, tmp_path: Path
) -> None:
    """The director, and the aggregator in it, are killed and do not come back for a while."""
    group = federation({})
    _, pid, workspace = trained(group, tmp_path / "marks", BOUND)
    group.kill_director()
    orphaned(group)
    wait_for(lambda: is_over(pid), group.deadline)
    wait_for(lambda: not Path(workspace).exists(), group.deadline)
    group.start_director()
    view = group.wait(A, lambda view: view.state == State.IDLE and view.path.count(State.IDLE) == 2)
    assert view.path.count(State.TRAINING) == 1


@pytest.mark.nightly
def test_B46_a_collaborator_whose_aggregator_froze_rejoins_when_it_thaws(federation: Start, tmp_path: Path) -> None:
    """Its connections stand and nothing comes over them: the process gives up, and is started anew for the same run."""
    group = federation({})
    person, _, _ = trained(group, tmp_path / "marks", BOUND)
    group.director.child.signal(signal.SIGSTOP)
    try:
        orphaned(group)
    finally:
        group.director.child.signal(signal.SIGCONT)
    assert group.outcome(person).status == "finished"
    group.wait(A, lambda view: view.done and view.path.count(State.TRAINING) == 2)


@pytest.mark.nightly
def test_B48_a_collaborator_whose_aggregator_froze_for_less_than_the_bound_goes_on(
    federation: Start, tmp_path: Path
) -> None:
    """Its results are on their way at that moment; they are taken once."""
    group = federation({})
    person, _, _ = trained(group, tmp_path / "marks", 60)
    group.director.child.signal(signal.SIGSTOP)
    threading.Event().wait(12)  # longer than the training takes, so that a call meets the silence
    group.director.child.signal(signal.SIGCONT)
    assert group.outcome(person).status == "finished"
    assert group.wait(A, lambda view: view.done).path.count(State.TRAINING) == 1
    assert not told(group, A, Event.EXPERIMENT_ORPHANED)


@pytest.mark.nightly
def test_B53_a_node_that_leaves_in_mid_round_releases_its_peer(federation: Start, tmp_path: Path) -> None:
    """It says so before it goes; the peer's collaborator gives up, and the peer is free."""
    group = federation({})
    marks = tmp_path / "marks"
    marks.touch()
    leaver = group.node(A, settings={**SEEN, "on_stop": "report", "drain_timeout": 0})
    group.node(B, settings={**SEEN, "aggregator_timeout": BOUND})
    person = group.submit(SLOW.format(marks=str(marks)), rounds=9)
    for name in (A, B):
        wait_for(lambda n=name: training_of(n, marks), group.deadline)  # type: ignore[misc]
    leaver.signal(signal.SIGTERM)
    assert leaver.wait(30) == Exit.OK
    assert group.outcome(person).status == "failed"
    line = wait_for(lambda: told(group, B, Event.EXPERIMENT_ORPHANED), group.deadline)
    assert "(agent.aggregator_timeout)" in str(line["cause"])
    assert group.wait(B, lambda view: view.done).path.count(State.TRAINING) == 1
