"""A site's own descriptor, from the command line: where it is constructed, with what, how long, and its failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dropin.programs import Place, start_command
from fedenvoy.config import ShardSource
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import State
from integration.test_agent_paths import make_wheel
from support.agents import config, running
from support.archives import archive

USE = """
import os

def run(shard, devices, plan):
    assert os.path.exists("plan/plan.yaml"), os.getcwd()
    return {"sum": sum(shard.get_dataset("train"))}
"""


def start(director: SandboxDirector, *more: str) -> tuple[str, ...]:
    return start_command(director.address.port, *more)


def described(director: SandboxDirector) -> str:
    """Give the description that the node registered with."""
    (call,) = director.calls_of("UpdateShardInfo")
    return str(call.request.shard_info.shard_description)


@pytest.mark.parametrize("where", ["", "conf/"])
def test_relative_data_paths_begin_where_the_node_was_started(place: Place, where: str) -> None:
    """Also where the configuration lies elsewhere; an experiment reads the data although it works somewhere else."""
    place.write("data/numbers.txt", "1 2 4")
    shard = "shard_descriptor: {template: numbers_shard.NumbersShard, params: {data: data, any: [1, 'x']}}\n"
    place.write(f"{where}envoy_config.yaml", shard)
    with SandboxDirector() as director:
        director.offer("exp", archive(USE), to=["site_1"])
        with place.running(*start(director, "-ec", f"{where}envoy_config.yaml")) as node:
            node.wait_for("--training_finished--> Reporting experiment='exp' cause=sum=7")
            assert node.stop() == Exit.OK
        assert described(director) == f"numbers at {place.home / 'data'}"


NEEDY = """
import tiny_package

class NeedyShard:
    sample_shape, target_shape = ["1"], ["1"]
    dataset_description = f"with tiny {tiny_package.VALUE}"

    def get_dataset(self, dataset_type="train"):
        return [tiny_package.VALUE]
"""


@pytest.fixture
def needy(place: Place) -> Place:
    """A descriptor that needs a package, which lies as a wheel in a directory of the site."""
    place.write("needy_shard.py", NEEDY)
    place.write("envoy_config.yaml", "shard_descriptor: {template: needy_shard.NeedyShard}\n")
    (place.home / "wheels").mkdir()
    make_wheel(place.home / "wheels", "tiny_package", "1.0", "VALUE = 41")
    return place


@pytest.mark.parametrize("name", ["requirements.txt", "sd_requirements.txt"])
def test_what_the_site_requires_is_there_for_the_shard_and_for_experiments(needy: Place, name: str) -> None:
    needy.write(name, "--no-index\n--find-links wheels\ntiny-package==1.0\n")
    with SandboxDirector() as director:
        director.offer("exp", archive(USE), to=["site_1"])
        with needy.running(*start(director)) as node:
            node.wait_for("--training_finished--> Reporting experiment='exp' cause=sum=41")
            assert node.stop() == Exit.OK
        assert described(director) == "with tiny 41"


def test_what_is_installed_already_needs_no_index(place: Place) -> None:
    """As after the `pip install -r requirements.txt` that OpenFL's users do by hand, on a node without a network."""
    place.write("requirements.txt", "attrs>=22\nPyYAML\n")
    with SandboxDirector() as director:
        nowhere = {"UV_INDEX_URL": "http://127.0.0.1:9/", "UV_NO_CACHE": "1"}
        with place.running(*start(director), variables=nowhere) as node:
            node.wait_for("--health_checked--> Idle")
            assert "building an environment" not in node.output
            assert node.stop() == Exit.OK


def test_site_requirements_that_cannot_be_met_are_named_with_their_file(needy: Place) -> None:
    file = needy.write("requirements.txt", "--no-index\n--find-links wheels\ntiny-package==2.0\n")
    with SandboxDirector() as director:
        code, printed = needy.run(*start(director))
        assert not director.calls
    assert code == Exit.SHARD
    (sentence,) = [line for line in printed.splitlines() if "session ended" in line]
    assert f"what the shard descriptor needs according to {file} cannot be installed: " in sentence
    assert "tiny-package==2.0" in sentence
    assert "agent.requirements.site" in sentence
    assert "params.install_requirements: false" in sentence


def test_site_requirements_are_left_alone_where_nothing_is_to_be_installed(needy: Place) -> None:
    needy.write("requirements.txt", "no-such-package-anywhere==1\n")
    needy.write(
        "envoy_config.yaml",
        "params: {install_requirements: false}\nshard_descriptor: {template: numbers_shard.NumbersShard}\n",
    )
    with SandboxDirector() as director, needy.running(*start(director)) as node:
        node.wait_for("--health_checked--> Idle")
        assert node.stop() == Exit.OK


BROKEN = """
import sys

class Shard:
    sample_shape = target_shape = ["1"]

    def __init__(self, how="", size=1):
        if how == "raise":
            raise FileNotFoundError(f"the directory /data/scans is not there,\\nsays {size}")
        if how == "exit":
            sys.exit("no data, no node")
        if how == "shapeless":
            self.sample_shape = "1"
        if how == "empty":
            self.target_shape = []
"""


@pytest.mark.parametrize(
    ("template", "params", "words"),
    [
        (
            "broken.Shard",
            "{how: raise, size: 3}",
            "FileNotFoundError: the directory /data/scans is not there, says 3",
        ),
        ("broken.Shard", "{how: exit}", "it exited with 1: no data, no node"),
        ("broken.Shard", "{how: shapeless}", "TypeError: sample_shape must be a list of numbers, not '1'"),
        ("broken.Shard", "{how: empty}", "empty target_shape"),
        ("broken.Shard", "{where: here}", "unexpected keyword argument 'where'"),
        ("broken.Shart", "{}", "module 'broken' has no attribute 'Shart'"),
        ("broke.Shard", "{}", "No module named 'broke'; put it into {home}, install it beside fedenvoy, or name it in"),
    ],
)
def test_a_constructor_that_fails_ends_the_start_in_one_sentence(
    place: Place, template: str, params: str, words: str
) -> None:
    place.write("broken.py", BROKEN)
    place.write("envoy_config.yaml", f"shard_descriptor: {{template: {template}, params: {params}}}\n")
    with SandboxDirector() as director:
        code, printed = place.run(*start(director))
        assert not director.calls
    assert code == Exit.SHARD
    assert "Traceback" not in printed
    last = printed.splitlines()[-1]
    assert "session ended: the shard descriptor broke" in last
    assert words.replace("{home}", str(place.home)) in last
    assert last.endswith("(exit code 4)")


SLOW = """
import os, time

class SlowShard:
    sample_shape = target_shape = ["1"]
    dataset_description = "at last"

    def __init__(self):
        with open("constructing", "w") as told:
            print(os.getpid(), file=told)
        with open("go_on") as gate:
            gate.read()
"""


@pytest.fixture
def slow(place: Place) -> Place:
    """A descriptor that takes as long as its test wants."""
    place.write("slow_shard.py", SLOW)
    place.write("envoy_config.yaml", "shard_descriptor: {template: slow_shard.SlowShard}\n")
    os.mkfifo(place.home / "constructing")
    os.mkfifo(place.home / "go_on")
    return place


def test_nothing_is_told_to_the_director_before_a_slow_constructor_has_ended(slow: Place) -> None:
    with SandboxDirector() as director:
        with slow.running(*start(director)) as node:
            (slow.home / "constructing").read_text(encoding="utf-8")
            assert "describing the shard: constructing slow_shard.SlowShard" in node.output
            assert "dialling" not in node.output
            assert not director.calls
            (slow.home / "go_on").write_text("now", encoding="utf-8")
            node.wait_for("--health_checked--> Idle")
            assert node.stop() == Exit.OK
        assert director.calls[0].method == "UpdateShardInfo"
        assert described(director) == "at last"


def test_a_stop_ends_a_slow_constructor(slow: Place) -> None:
    with SandboxDirector() as director:
        outside = {"FEDENVOY_ISOLATION": "process"}  # where a process id means the same on both sides
        with slow.running(*start(director), variables=outside) as node:
            child = int((slow.home / "constructing").read_text(encoding="utf-8"))
            assert node.stop() == Exit.OK
        assert not director.calls
    assert not Path(f"/proc/{child}").exists()


def test_a_node_says_that_it_is_describing_its_shard(slow: Place, tmp_path: Path) -> None:
    shard = ShardSource("slow_shard.SlowShard")
    with SandboxDirector() as director:
        settings = config(director.address, tmp_path / "state", shard=shard, agent__home=slow.home)
        with running(settings) as node:
            (slow.home / "constructing").read_text(encoding="utf-8")
            assert node.node.snapshot.describing
            (slow.home / "go_on").write_text("now", encoding="utf-8")
            node.wait_state(State.IDLE)
            assert not node.node.snapshot.describing


def test_it_is_describing_no_more_once_it_dials(tmp_path: Path) -> None:
    with SandboxDirector() as director:
        director.stop()
        with running(config(director.address, tmp_path)) as node:
            node.wait(lambda records: any("cannot be reached" in record.cause for record in records))
            assert node.node.snapshot.state is State.DISCONNECTED
            assert not node.node.snapshot.describing
