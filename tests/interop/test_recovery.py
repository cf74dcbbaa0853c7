"""What goes wrong in real federations, with the real director: a node is killed, a training raises."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from fedenvoy.config import TlsFiles
    from fedenvoy.demo.deadline import Deadline
    from interop.conftest import Start

T = TypeVar("T")

A, B = "hospital-a", "hospital-b"

SEEN = {"isolation": "process"}
"""For a node whose experiment is watched by the process ids and files that it names: in a sandbox those are its own."""

SLOW = """
import os, time
_train = train

def train(model, data):
    with open({marks!r}, "a") as marks:
        print(os.getpid(), os.getcwd(), file=marks, flush=True)
    time.sleep(4)
    return _train(model, data)
"""

BROKEN = """
def train(model, data):
    raise RuntimeError("the scanner is upside down")
"""


def test_B6_a_node_killed_in_training_rejoins(federation: Start, tmp_path: Path) -> None:
    """Nothing of the killed run is left, the director hands the experiment out again, and it ends well.

    So does one that is submitted while the node is away.
    """
    group = federation({})
    marks = tmp_path / "marks"
    marks.touch()
    group.node(B, settings=SEEN)
    node = group.node(A, settings=SEEN)
    person = group.submit(SLOW.format(marks=str(marks)))
    pid, workspace = wait_for(lambda: training_of(A, marks), group.deadline)
    node.signal(signal.SIGKILL)
    assert node.wait(10) == -signal.SIGKILL
    later = group.submit(name="later", rounds=1, online=(B,))
    wait_for(lambda: is_over(pid), group.deadline)
    wait_for(lambda: '"submitted"' in later.log.read_text("utf-8"), group.deadline)
    group.node(A, settings=SEEN)
    again, anew = wait_for(lambda: training_of(A, marks, but=pid), group.deadline)
    assert again != pid
    assert anew != workspace
    assert not Path(workspace).exists()
    assert group.outcome(person).status == "finished"
    assert group.outcome(later).status == "finished"
    group.wait(A, lambda view: view.done and view.path.count("Training") == 3)
    group.wait(B, lambda view: view.done and view.path.count("Training") == 2)


def training_of(name: str, marks: Path, but: str = "") -> tuple[str, str] | None:
    """Give process and workspace of a training that marked itself at a site."""
    for line in marks.read_text("utf-8").splitlines():
        pid, _, workspace = line.partition(" ")
        if f"/{name}/" in workspace and pid != but:
            return pid, workspace
    return None


def is_over(pid: str) -> bool:
    """Whether a process has ended; who is to collect its exit code does not matter."""
    try:
        return "State:\tZ" in Path("/proc", pid, "status").read_text("utf-8")
    except FileNotFoundError:
        return True


def wait_for(question: Callable[[], T | None], deadline: Deadline) -> T:
    """Ask a question again and again, until it has a true answer."""
    while not (answer := question()):
        deadline.check(f"an answer to {question}")
        time.sleep(0.05)
    return answer


def test_B43_a_training_that_raises_fails_the_experiment(federation: Start) -> None:
    """The director learns it, from one report of each node, and in words."""
    group = federation({})
    for name in (A, B):
        group.node(name)
    assert group.outcome(group.submit(BROKEN)).status == "failed"
    for name in (A, B):
        view = group.wait(name, lambda view: view.done)
        assert "the scanner is upside down" in view.trouble
    told = unwrapped(group.director.child.log)
    for name in (A, B):
        assert told.count(f"Collaborator {name} failed with error code: 1") == 1
    assert "RuntimeError" in told
    assert "the scanner is upside down" not in told  # an exception can quote the site's data


def test_B45_with_tls_a_report_is_sent_unconfirmed(federation: Start, certificates: Mapping[str, TlsFiles]) -> None:
    """The director drops the report and offers the experiment again; the node declines and stays free."""
    group = federation(certificates)
    nodes = {name: group.node(name) for name in (A, B)}
    group.submit(BROKEN)
    for name in (A, B):
        group.wait(name, lambda view: view.done)
        # Offered again at once, it is not run again: the node stays free.
        group.wait(name, lambda view: view.event == "experiment_offered" and view.state == "Idle")
        assert group.views[name].path.count("Training") == 1
        assert nodes[name].exit_code is None
        delivered = [told for told in journal(nodes[name].log) if told["event"] == "report_delivered"]
        assert len(delivered) == 1


def unwrapped(log: Path) -> str:
    """Read a log of OpenFL's as one line: it is cut at a column, and each line ends in a file's name and number."""
    return re.sub(r"(\s+\w+\.py:\d+)?\s*\n\s*", " ", log.read_text("utf-8"))


def journal(log: Path) -> list[dict[str, object]]:
    """Read the transitions that a node logged."""
    lines = log.read_text("utf-8").splitlines()
    return [told for line in lines if line.startswith("{") and "event" in (told := json.loads(line))]
