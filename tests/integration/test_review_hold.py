"""Experiments that wait for people: a real agent and director, and people at real commands."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fedenvoy.cli import cli
from fedenvoy.config import NodeConfig, ReviewSettings
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import RunningNode, config, running
from support.archives import archive

E, S = Event, State
PATIENCE = 20.0


class Desk:
    """Where somebody sits who decides."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def run(self, *words: str) -> Result:
        argv = ["review", words[0], "--state-dir", str(self.state), *words[1:]]
        return CliRunner().invoke(cli, argv, prog_name="fedenvoy")

    def say(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.output

    def refuse(self, code: Exit, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == code, result.output
        return result.output

    def waiting(self) -> list[dict[str, Any]]:
        return list(json.loads(self.say("list", "--json"))["waiting"])

    def wait(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many experiments are in hand, waiting."""
        end = time.monotonic() + PATIENCE
        while len(found := [case for case in self.waiting() if case["in_hand"]]) < count:
            assert time.monotonic() < end, self.waiting()
            time.sleep(0.02)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "state")


def holding(director: SandboxDirector, desk: Desk, **review: Any) -> NodeConfig:
    return config(director.address, desk.state, agent__review=ReviewSettings(**({"mode": "hold"} | review)))


def cause(node: RunningNode, event: Event) -> str:
    return next(record.cause for record in node.records if record.event is event)


def test_what_is_approved_runs(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk)) as node:
        node.wait_state(S.REVIEWING_PLAN)
        (case,) = desk.wait()
        assert case["experiment"] == "exp"
        shown = desk.say("show", "exp", "--diff")
        assert "entry: experiment_code:run" in shown
        assert "+def run(shard, devices, plan):" in shown
        said = desk.say("approve", "exp", "--reason", "as agreed", "--as", "Anna Berg")
        assert "'exp' is approved, 1 of 1" in said
        node.wait_event(E.TRAINING_FINISHED)
        words = cause(node, E.PLAN_APPROVED)
        assert "approved by Anna Berg [uid 0]" in words
        assert "as agreed" in words
        assert not desk.waiting()
