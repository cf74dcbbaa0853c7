"""Requirements on the way through a real node: locked before people decide, and then installed as they approved it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fedenvoy.cli import cli
from fedenvoy.config import RequirementsSettings, ReviewSettings
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import RunningNode, config, running
from support.archives import archive
from support.environments import make_wheels, wheel

E, S = Event, State

CODE = "import alpha\ndef run(shard, devices, plan):\n    return {'alpha': float(alpha.VERSION)}\n"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return make_wheels(tmp_path / "wheels")


def review(state: Path, *words: str) -> str:
    argv = ["review", words[0], "--state-dir", str(state), *words[1:]]
    result = CliRunner().invoke(cli, argv, prog_name="fedenvoy")
    assert result.exit_code == 0, result.output
    return result.output


def held(director: SandboxDirector, state: Path) -> Any:
    return config(director.address, state, agent__review=ReviewSettings(mode="hold"))


def wait_until_held(node: RunningNode, state: Path) -> None:
    node.wait_state(S.REVIEWING_PLAN)
    end = time.monotonic() + 30
    while '"in_hand": true' not in review(state, "list", "--json"):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_people_approved_is_installed_whatever_the_index_has_by_then(tmp_path: Path, wheels: Path) -> None:
    state = tmp_path / "state"
    with SandboxDirector() as director:
        director.offer("exp", archive(CODE, requirements="alpha\n"), to=["node-1"])
        with running(held(director, state)) as node:
            wait_until_held(node, state)
            digest = hashlib.sha256((wheels / "alpha-2.0-py3-none-any.whl").read_bytes()).hexdigest()
            assert f"--hash=sha256:{digest}" in review(state, "show", "exp")
            wheel(wheels, "alpha", "3.0")
            for kept in state.glob("environments/*.pins"):
                kept.unlink()
            review(state, "approve", "exp", "--reason", "as locked", "--as", "Anna")
            node.wait_event(E.TRAINING_FINISHED)
            assert "alpha=2" in next(record.cause for record in node.records if record.event is E.TRAINING_FINISHED)


def test_what_cannot_be_met_is_not_put_before_people(tmp_path: Path, wheels: Path) -> None:
    with SandboxDirector() as director:
        director.offer("exp", archive(CODE, requirements="alpha==2.0\nbeta\n"), to=["node-1"])
        with running(held(director, tmp_path / "state")) as node:
            node.wait_event(E.REPORT_DELIVERED)
            (failed,) = [record for record in node.records if record.event is E.EXPERIMENT_UNUSABLE]
            assert failed.cause.startswith("resolution: the requirements cannot be met together")
            assert failed.settled is not None, "the archive is to blame"


@pytest.mark.nightly
def test_mode_off_installs_nothing(tmp_path: Path, wheels: Path) -> None:
    code = "import importlib.util\ndef run(*_):\n    return {'found': float(bool(importlib.util.find_spec('alpha')))}\n"
    with SandboxDirector() as director:
        director.offer("exp", archive(code, requirements="alpha\n"), to=["node-1"])
        settings = config(director.address, tmp_path, agent__requirements=RequirementsSettings(mode="off"))
        with running(settings) as node:
            node.wait_event(E.TRAINING_FINISHED)
            assert S.INSTALLING_REQUIREMENTS not in node.path
            assert "found=0" in {record.cause for record in node.records}
    assert not list(tmp_path.glob("environments"))


OTHERS = """
import grpc, google.protobuf
def run(shard, devices, plan):
    return {"grpcio": number(grpc.__version__), "protobuf": number(google.protobuf.__version__)}
def number(version):
    major, minor, *_ = version.split(".")
    return int(major) * 1000 + int(minor)
"""


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_B33_other_grpcio_and_protobuf_leave_the_agent_s_own_as_they_are(tmp_path: Path) -> None:
    """From a real index: what the agent itself runs on at that moment, in other versions."""
    before = own_files()
    wanted = "grpcio==1.66.2\nprotobuf==3.20.3\n"
    with SandboxDirector() as director:
        for name in ("first", "second"):
            director.offer(name, archive(OTHERS, requirements=wanted), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            node.wait_event(E.REPORT_DELIVERED, 300, times=2)
            causes = [record.cause for record in node.records if record.event is E.TRAINING_FINISHED]
    assert causes == ["grpcio=1066, protobuf=3020"] * 2
    assert own_files() == before
    code = "import grpc, google.protobuf; print(grpc.__version__, google.protobuf.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    import google.protobuf
    import grpc

    assert done.stdout.split() == [grpc.__version__, google.protobuf.__version__]


def own_files() -> dict[str, str]:
    """Give the digest of every file of the agent's own installation."""
    places = [place for place in Path(sys.prefix).rglob("*") if "__pycache__" not in place.parts]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in places
        if path.is_file() and not path.is_symlink()
    }
