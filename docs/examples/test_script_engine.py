"""Property tests of the engine: what it says of any plan, and one run in a process of its own."""

# ruff: noqa: D103 - what a test says is its name
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fedenvoy.cancel import Cancel
from fedenvoy.engines.process import child_environment, run_child
from fedenvoy.ports import Engine, RunSpec
from fedenvoy.testing import plans
from hypothesis import example, given
from hypothesis import strategies as st
from script_engine import ScriptEngine

GOOD: dict[str, Any] = {"engine": "script", "script": {"file": "train.py", "packages": ["numpy==1.26.4"]}}
ENGINE: Engine = ScriptEngine()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked experiment, with something beside it that is none of its business."""
    above = tmp_path_factory.mktemp("site")
    (above / "secret.py").write_text("")
    (above / "experiment").mkdir()
    (above / "experiment" / "train.py").write_text("RESULT = {'rows': len(SHARD.numbers), 'loss': 0.25}\n")
    return above / "experiment"


def refused(plan: dict[str, Any], workspace: Path) -> str:
    """Give the engine's words against a plan; empty when it takes it."""
    try:
        ENGINE.check(plan, workspace)
    except ValueError as error:
        return str(error)
    return ""


@given(plan=plans() | plans(like=GOOD))
def test_a_plan_is_taken_or_refused_in_one_sentence(workspace: Path, plan: dict[str, Any]) -> None:
    words = refused(plan, workspace)
    assert "\n" not in words
    if not words:
        assert ENGINE.claims(plan)
        assert all(isinstance(line, str) for line in ENGINE.needs(plan).packages)


@given(file=st.lists(st.sampled_from(["..", ".", "", "secret.py", "train.py", "experiment"])).map("/".join))
@example(file="../secret.py")
@example(file="/etc/passwd.py")
@example(file="train\0.py")
def test_no_script_outside_the_archive_is_run(workspace: Path, file: str) -> None:
    if not refused({"script": {"file": file}}, workspace):
        assert (workspace / file).resolve() == workspace / "train.py"


def test_a_run(workspace: Path, tmp_path: Path) -> None:
    """The real thing: the agent's own child process, with a shard of this site."""
    (tmp_path / "shard.py").write_text("class Shard:\n    numbers = [1, 2, 3]\n")
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(GOOD))
    spec = RunSpec(
        run_dir=tmp_path,
        workspace=workspace,
        home=tmp_path,
        shard_name="hospital-1",
        shard={"template": "shard.Shard", "params": {}},
        plan_path=plan,
    )
    env = child_environment(os.environ)
    result = run_child(spec, ENGINE.program(), Path(sys.executable), env=env, grace=5.0, cancel=Cancel())
    assert result.error == ""
    assert result.metrics == {"rows": 3, "loss": 0.25}
