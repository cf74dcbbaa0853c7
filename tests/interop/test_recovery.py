"""What goes wrong in real federations, with the real director: a node is killed, a training raises."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedenvoy.config import TlsFiles
    from interop.conftest import Start

A, B = "hospital-a", "hospital-b"

SLOW = """
import time
_train = train

def train(model, data):
    time.sleep(4)
    return _train(model, data)
"""

BROKEN = """
def train(model, data):
    raise RuntimeError("the scanner is upside down")
"""


def test_B6_a_node_killed_in_training_rejoins(federation: Start) -> None:
    """The director hands the experiment out again, and the experiment ends well."""
    group = federation({})
    group.node(B)
    node = group.node(A)
    person = group.submit(SLOW)
    group.wait(A, lambda view: view.state == "Training")
    node.signal(signal.SIGKILL)
    assert node.wait(10) == -signal.SIGKILL
    group.node(A)
    assert group.outcome(person).status == "finished"
    for name in (A, B):
        group.wait(name, lambda view: view.done)
    assert group.views[A].path.count("Training") == 2


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
    assert "the scanner is upside down" in told


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
