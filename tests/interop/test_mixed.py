"""Federations of one original envoy and one fedenvoy node, beside federations of OpenFL's own alone.

That a node which is killed in training rejoins is `test_recovery.py`'s B6. The federations here run at the same time:
most of each is spent waiting for the director's ten-second clocks.
"""

from __future__ import annotations

import json
import queue
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fedenvoy.demo.child import Child, Lines
from fedenvoy.demo.federation import Outcome
from fedenvoy.demo.nodes import NodeView
from interop.conftest import NAMES, Federation

if TYPE_CHECKING:
    from fedenvoy.config import TlsFiles

A, B = NAMES
BROKEN_AT_A = """
_train = train

def train(model, data):
    if len(data) == 120:
        raise RuntimeError("the scanner is upside down")
    return _train(model, data)
"""
"""Raises at hospital A, whose part to train on is 120 points, and works at hospital B."""


@dataclass(frozen=True)
class Picture:
    """What a user saw from one change to the next: status and registry, as OpenFL's own front end gave them.

    Attributes:
        at: Since when, seconds of the system's clock.
        status: Of the experiment; empty before there is one.
        nodes: Online and running, by name; None where the director raised.

    """

    at: float
    status: str
    nodes: Mapping[str, tuple[bool, bool]] | None

    @classmethod
    def read(cls, line: str) -> Picture:
        told = json.loads(line)
        registry = told["registry"]
        nodes = None if isinstance(registry, str) else {name: tuple(seen) for name, seen in registry.items()}
        return cls(told["at"], told["status"], nodes)


class Onlooker:
    """The user's program that looks on; its pictures in order."""

    def __init__(self, group: Federation, stack: ExitStack) -> None:
        self._lines, self._group = Lines(), group
        self.pictures: list[Picture] = []
        where = ["--host", group.director.host, "--port", str(group.director.port), "--experiment", "plane"]
        argv = [str(group.python), str(Path(__file__).with_name("watch.py")), *where]
        log, home = group.place / "onlooker.log", {"HOME": str(group.place)}
        child = Child("onlooker", argv, cwd=group.place, log=log, lines=self._lines, environment=home, grace=0.5)
        self.child = stack.enter_context(child)

    def wait(self, until: Callable[[Picture], bool]) -> Picture:
        """Wait for a picture; give it."""
        while not (self.pictures and until(self.pictures[-1])):
            try:
                line = self._lines.get(timeout=self._group.deadline.left).text
            except queue.Empty:
                pytest.fail(f"not seen by {self.child.name}; it saw {self.pictures}")
            if line.startswith("{"):
                self.pictures.append(Picture.read(line))
        return self.pictures[-1]


@dataclass(frozen=True)
class Played:
    """A federation that is over: how its experiments ended, what its nodes went through, what a user saw."""

    outcomes: Sequence[Outcome] = ()
    views: Mapping[str, NodeView] | None = None
    pictures: Sequence[Picture] = ()


class Stage:
    """Plays federations; each in a directory of its own."""

    def __init__(self, place: Path, python: Path, certificates: Mapping[str, TlsFiles]) -> None:
        self._place, self._python, self._certificates = place, python, certificates

    def _federation(self, name: str, stack: ExitStack, *, tls: bool = False) -> Federation:
        (self._place / name).mkdir()
        return Federation(self._place / name, self._python, stack, self._certificates if tls else {})

    def originals(self) -> Played:
        """Give the yardstick: one round, and three; the second experiment is submitted while the first one runs."""
        with ExitStack() as stack:
            group = self._federation("originals", stack)
            for name in NAMES:
                group.original(name)
            people = [group.submit(name="one", rounds=1), group.submit(name="three", rounds=3)]
            return Played([group.outcome(person) for person in people])

    def plain(self) -> Played:
        """One round in plain text, twice: the second experiment is submitted while the node has the first in hand."""
        with ExitStack() as stack:
            group = self._federation("plain", stack)
            node = group.node(A)
            group.original(B)
            first = group.submit(name="one", rounds=1)
            group.wait(A, lambda view: view.experiment == "one")
            second = group.submit(name="again", rounds=1)
            outcomes = [group.outcome(person) for person in (first, second)]
            group.wait(A, lambda view: view.done and view.experiment == "again")
            node.stop()
            return Played(outcomes, {A: group.views[A]})

    def tls(self) -> Played:
        """Three rounds under TLS, and both nodes install what the archive's list of requirements asks for."""
        with ExitStack() as stack:
            group = self._federation("tls", stack, tls=True)
            group.original(A, install=True)
            group.node(B, install=True)
            outcome = group.outcome(group.submit(rounds=3))
            group.wait(B, lambda view: view.done)
            return Played([outcome], {B: group.views[B]})

    def failing(self, *, ours: bool) -> Played:
        """The training raises at hospital A, which is an original envoy or ours; a user looks on from the beginning."""
        with ExitStack() as stack:
            group = self._federation(f"failing-{'ours' if ours else 'original'}", stack)
            onlooker = Onlooker(group, stack)
            onlooker.wait(lambda picture: picture.nodes == {})
            node = group.node(A) if ours else group.original(A)
            group.original(B)
            group.submit(BROKEN_AT_A)
            onlooker.wait(lambda picture: picture.status == "finished")
            if ours:
                # The rest of a node's life: it is killed, comes back, and is stopped.
                node.signal(signal.SIGKILL)
                node.wait(10)
                again = group.node(A)
                group.wait(A, lambda view: view.state == "Idle" and view.path.count("Registered") == 2)
                again.stop()
                onlooker.wait(lambda picture: picture.nodes is not None and not picture.nodes[A][0])
            return Played(views=group.views, pictures=onlooker.pictures)


@pytest.fixture(scope="module")
def plays(
    tmp_path_factory: pytest.TempPathFactory, openfl_python: Path, certificates: Mapping[str, TlsFiles]
) -> Mapping[str, Future[Played]]:
    """All federations of this file, played at the same time; what went wrong in one is raised by its `result`."""
    stage = Stage(tmp_path_factory.mktemp("mixed"), openfl_python, certificates)
    todo: Mapping[str, Callable[[], Played]] = {
        "originals": stage.originals,
        "plain": stage.plain,
        "failing ours": lambda: stage.failing(ours=True),
        "tls": stage.tls,
        "failing original": lambda: stage.failing(ours=False),
    }
    # All at once they are some 25 programs that import OpenFL: 5 GB where none of it were shared.
    with ThreadPoolExecutor(len(todo)) as pool:
        return {name: pool.submit(play) for name, play in todo.items()}


def same_weights(one: Outcome, other: Outcome) -> None:
    assert one.status == other.status == "finished"
    assert one.weights.keys() == other.weights.keys()
    for name, values in other.weights.items():
        assert one.weights[name] == pytest.approx(values, rel=1e-6), name


def test_in_plain_text_one_round_ends_with_the_weights_of_originals(plays: Mapping[str, Future[Played]]) -> None:
    mixed, yardstick = plays["plain"].result(), plays["originals"].result().outcomes[0]
    same_weights(mixed.outcomes[0], yardstick)
    same_weights(mixed.outcomes[1], yardstick)
    assert mixed.views is not None
    assert mixed.views[A].path.count("Training") == 2
    assert "InstallingRequirements" not in mixed.views[A].path


def test_with_tls_three_rounds_and_requirements_end_with_the_weights_of_originals(
    plays: Mapping[str, Future[Played]],
) -> None:
    mixed, yardstick = plays["tls"].result(), plays["originals"].result().outcomes[1]
    same_weights(mixed.outcomes[0], yardstick)
    assert {metric["round"] for metric in mixed.outcomes[0].metrics} == {0, 1, 2}
    assert mixed.views is not None
    assert mixed.views[B].path[-4:] == ("InstallingRequirements", "Training", "Reporting", "Idle")


def statuses(played: Played) -> list[str]:
    """Give the experiment's statuses in the order in which the user saw them."""
    told = [picture.status for picture in played.pictures]
    return [status for status, before in zip(told, ["", *told], strict=False) if status != before]


def seen_of(played: Played, name: str, status: str) -> set[tuple[bool, bool]]:
    """Give what a node was shown as while the experiment had a status."""
    return {p.nodes[name] for p in played.pictures if p.status == status and p.nodes is not None and name in p.nodes}


def test_a_failing_node_gives_the_picture_that_a_failing_original_one_gives(
    plays: Mapping[str, Future[Played]],
) -> None:
    """The same status at every step, and both nodes online; but ours is free at once, and does not run it again.

    That the director says "finished" in the end, and that the neighbour goes on for ever, is the same for both.
    """
    original, ours = plays["failing original"].result(), plays["failing ours"].result()
    assert statuses(ours) == statuses(original) == ["pending", "in_progress", "failed", "finished"]
    for status in ("pending", "in_progress", "failed"):
        for name in NAMES:
            assert {online for online, _ in seen_of(ours, name, status)} == {True}, (name, status)
            assert {online for online, _ in seen_of(original, name, status)} == {True}, (name, status)
    assert ours.views is not None
    assert "the scanner is upside down" in ours.views[A].trouble
    assert (True, False) in seen_of(ours, A, "failed") | seen_of(ours, A, "finished")


def test_the_registry_can_be_listed_at_every_moment_of_a_node_s_life(plays: Mapping[str, Future[Played]]) -> None:
    """Before it starts, idle, in training, failed, killed, back, and stopped.

    The director raises from the moment it has accepted a node until that node polls; it does so for either node.
    """
    pictures = plays["failing ours"].result().pictures
    assert pictures[0].nodes == {}
    assert pictures[-1].nodes is not None
    assert pictures[-1].nodes[A] == (False, False)
    gaps = [after.at - before.at for before, after in pairwise(pictures) if before.nodes is None]
    assert len(gaps) <= len(NAMES)
    assert all(gap < 1.0 for gap in gaps), gaps
