"""The demo with our own director: two nodes learn to read digits, each from half of the images.

Everything is as in a real federation, small: mutual TLS, two agents in processes and directories of their own, an
archive, requirements that are installed into an environment of the experiment's own. Only the director is a sandbox,
in this process, and nothing is averaged: each node reports what it learnt by itself.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.resources import files
from typing import TYPE_CHECKING

from fedenvoy_statecharts import State

from fedenvoy.demo.certificates import throwaway
from fedenvoy.demo.child import Child
from fedenvoy.demo.deadline import DemoError
from fedenvoy.demo.federation import copy_files
from fedenvoy.demo.nodes import SEVEN, NodeView, Site, start_node
from fedenvoy.demo.view import print_result

if TYPE_CHECKING:
    from fedenvoy.config import DirectorAddress, TlsFiles
    from fedenvoy.demo.stage import Stage

__all__ = ["play"]

NAMES = ("hospital-a", "hospital-b")
EXPERIMENT = "digits"
WANTED = 0.90
"""The accuracy on held-out digits below which the demo counts as failed."""


def play(stage: Stage) -> None:
    """Start everything, offer the experiment, follow it, show what came out, end everything.

    Raises:
        DemoError: Something did not work, in one sentence.

    """
    from fedenvoy.testing.sandbox import SandboxDirector  # noqa: PLC0415 - loads gRPC

    certificates = throwaway(stage.directory("certificates"), "director", *NAMES)
    with ExitStack() as stack:
        stack.enter_context(stage.view)
        director = SandboxDirector(
            tls=certificates["director"], sample_shape=["8", "8"], target_shape=["1"], period=2.0
        )
        stack.enter_context(director)
        stage.view.say(f"a director listens on {director.address}; everyone has a throwaway certificate")
        nodes = [
            stack.enter_context(_node(stage, name, number, director.address, certificates[name]))
            for number, name in enumerate(NAMES)
        ]
        stage.follow(nodes, _all_idle, waiting_for="the nodes to register")
        stage.view.say("both nodes are free; the director offers them an experiment")
        director.offer(EXPERIMENT, _archive(), NAMES)
        stage.follow(nodes, _all_done, waiting_for="the experiment")
        director.finish(EXPERIMENT)
        stage.stop(nodes)
    print_result(stage.console, stage.nodes.values(), _columns(stage.nodes), title="what each node learnt by itself")
    for node in stage.nodes.values():
        _check(node)


def _node(stage: Stage, name: str, part: int, director: DirectorAddress, tls: TlsFiles) -> Child:
    directory = copy_files(stage.directory(name), "digits_shard.py")
    site = Site(name, directory, "digits_shard.DigitsShard", {"part": part}, install=True)
    return start_node(site, director.host, director.port, tls=tls, lines=stage.lines)


def _archive() -> bytes:
    """Pack the experiment as a director hands it out."""
    source = files("fedenvoy.demo").joinpath("files")
    members = {
        "plan/plan.yaml": "digits_plan.yaml",
        "requirements.txt": "digits_requirements.txt",
        "digits_experiment.py": "digits_experiment.py",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in members.items():
            archive.writestr(name, source.joinpath(file).read_bytes())
    return packed.getvalue()


def _all_idle(nodes: Mapping[str, NodeView]) -> bool:
    return all(node.state == State.IDLE for node in nodes.values())


def _all_done(nodes: Mapping[str, NodeView]) -> bool:
    return all(node.done for node in nodes.values())


def _columns(nodes: Mapping[str, NodeView]) -> Mapping[str, Mapping[str, str]]:
    def cells(metric: str, form: str) -> Mapping[str, str]:
        return {name: format(node.metrics[metric], form) for name, node in nodes.items() if metric in node.metrics}

    return {
        "trained on": cells("trained_on", ".0f"),
        "held out": cells("held_out", ".0f"),
        "accuracy on held-out digits": cells("accuracy", ".3f"),
    }


def _check(node: NodeView) -> None:
    """Hold a node to what the demo promises.

    Raises:
        DemoError: A state is missing in its path, or it learnt too little.

    """
    missing = [str(state) for state in SEVEN if state not in node.path]
    if missing:
        raise DemoError(f"{node.name} did not go through {', '.join(missing)}")
    accuracy = node.metrics.get("accuracy", 0.0)
    if accuracy < WANTED:
        raise DemoError(f"{node.name} reads {accuracy:.0%} of the held-out digits; at least {WANTED:.0%} are expected")
