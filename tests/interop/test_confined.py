"""The real collaborator behind the walls: it has no key and no network, and takes part in its federation anyway."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from fedenvoy.engines.openfl_plan import find_aggregator
from fedenvoy_statecharts import Event
from interop.conftest import NAMES
from interop.test_aggregator_loss import BOUND, orphaned, told
from interop.test_recovery import SLOW, A, wait_for

if TYPE_CHECKING:
    from fedenvoy.config import TlsFiles
    from interop.conftest import Start

ADDRESSES = Path(__file__).parent.parent / "fixtures" / "openfl16-addresses.json"

CURIOUS = """
import os, socket
_train = train

def train(model, data):
    assert not [place for place in {keys!r} if os.path.exists(place)], "there is a key"
    with socket.socket() as direct:
        assert direct.connect_ex(({host!r}, {port!r})) != 0, "there is a network"
    return _train(model, data)
"""

ASK = """
import importlib.util, json, logging, pathlib, sys, tempfile
logging.disable(logging.CRITICAL)
from openfl.federated import Plan
answers = []
for text in json.load(sys.stdin):
    place = pathlib.Path(tempfile.mkdtemp(dir=sys.argv[1]), "plan.yaml")
    place.write_text(text)
    network = Plan.parse(plan_config_path=place).config["network"]["settings"]
    answers.append([text, network["agg_addr"], int(network["agg_port"])])
print("ANSWER" + json.dumps(answers))
"""


@pytest.mark.nightly
def test_confined_nodes_take_part_with_mutual_tls(federation: Start, certificates: Mapping[str, TlsFiles]) -> None:
    """What they train looks for a key and for a way to the director, and finds neither."""
    group = federation(certificates)
    for name in NAMES:
        group.node(name, settings={"isolation": "sandbox"})
    keys = [str(files.private_key) for files in certificates.values()]
    curious = CURIOUS.format(keys=keys, host="127.0.0.1", port=group.director.port)
    outcome = group.outcome(group.submit(curious))
    assert outcome.status == "finished"
    assert outcome.weights["slopes"] == pytest.approx([3.0, -2.0, 0.5, 1.0], abs=0.5)
    for name in NAMES:
        group.wait(name, lambda view: view.done and "Training" in view.path)


@pytest.mark.nightly
def test_B46_a_confined_collaborator_whose_aggregator_died_gives_up(federation: Start, tmp_path: Path) -> None:
    """What the relay saw stands in the journal: the process itself saw only that its connections ended."""
    marks = tmp_path / "marks" / "file"
    marks.parent.mkdir()
    marks.touch()
    group = federation({})
    walls = {"isolation": "sandbox", "sandbox": {"write": [str(marks.parent)]}}
    group.node(A, settings={**walls, "aggregator_timeout": BOUND, "orphan_timeout": 300})
    group.submit(SLOW.format(marks=str(marks)), online=(A,))
    wait_for(lambda: marks.read_text("utf-8"), group.deadline)
    group.kill_director()
    orphaned(group)
    line = told(group, A, Event.EXPERIMENT_ORPHANED)
    assert line is not None
    assert str(line["cause"]).endswith("cannot be reached: Connection refused")


@pytest.mark.nightly
def test_openfl_finds_aggregators_where_it_was_recorded_to_find_them(openfl_python: Path, tmp_path: Path) -> None:
    recorded = json.loads(ADDRESSES.read_text(encoding="utf-8"))
    done = subprocess.run(
        [openfl_python, "-c", ASK, tmp_path],
        input=json.dumps([text for text, _, _ in recorded]),
        env={"FQDN": "site.example", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answers = json.loads(done.stdout.rpartition("ANSWER")[2])
    assert answers == recorded
    for text, host, port in answers:
        found = find_aggregator(yaml.safe_load(text), lambda: "site.example")
        assert (found.host, found.port) == (host, port)
