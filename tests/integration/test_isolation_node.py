"""What a whole node says of its isolation, and what it does where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fedenvoy.app.confining import Confining
from fedenvoy.app.control import facts
from fedenvoy.cancel import Cancel
from fedenvoy.config import DirectorAddress, ShardSource
from fedenvoy.engines.descriptors import describe
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.processes import write_home
from support.sources import source_path

WITHOUT = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
"""In a user namespace of its own: allow no further one."""


def test_journal_and_status_say_how_experiments_run(tmp_path: Path) -> None:
    with SandboxDirector() as director, running(config(director.address, tmp_path / "state")) as node:
        node.wait_state(State.IDLE)
        (described,) = [record for record in node.records if record.event is Event.SHARD_DESCRIBED]
        assert described.cause == "isolation: sandbox"
        assert facts(node.node)["isolation"] == "sandbox"


def start_without_namespaces(tmp_path: Path, isolation: str) -> subprocess.CompletedProcess[str]:
    home = tmp_path / "home"
    write_home(home, tmp_path / "state")
    with (home / "envoy_config.yaml").open("a") as file:
        file.write(isolation)
    start = [sys.executable, "-m", "fedenvoy", "start", "-n", "one", "-dh", "localhost", "-dp", "1", "--disable-tls"]
    return subprocess.run(
        ["unshare", "-r", "sh", "-c", WITHOUT, "sh", *start],
        cwd=home,
        env={**os.environ, "PYTHONPATH": source_path()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_sandbox_that_is_asked_for_and_not_to_be_had_is_one_sentence_at_the_start(tmp_path: Path) -> None:
    done = start_without_namespaces(tmp_path, "  isolation: sandbox\n")
    assert done.returncode == 3, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("fedenvoy: error: agent.isolation is sandbox, and this machine has none: user namespaces")
    assert last.endswith("or set agent.isolation: process")


def test_without_a_sandbox_a_node_works_and_warns(tmp_path: Path) -> None:
    """The shard is broken, so that the node ends by itself."""
    (tmp_path / "home").mkdir()
    done = start_without_namespaces(tmp_path, "  python: /bin/false\n")
    assert "experiments run with this agent's own rights, private key included (isolation: process)" in done.stderr
    assert "user namespaces are turned off" in done.stderr


def test_a_description_may_prepare_its_data_and_an_experiment_may_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "shard.py").write_text(
        "import pathlib, socket\nclass Shard:\n    sample_shape = target_shape = ['1']\n"
        "    def __init__(self, port):\n        socket.create_connection(('127.0.0.1', port)).close()\n"
        "        pathlib.Path('data').write_text('1')\n"
    )
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        source = ShardSource("shard.Shard", {"port": server.getsockname()[1]})
        node = config(DirectorAddress("d", 1), tmp_path / "state", shard=source, agent__home=home)
        walls = Confining(
            node,
            root=tmp_path / "state",
            node_dir=tmp_path / "state/one",
            python=Path(sys.executable),
            environ=dict(os.environ),
            limits={},
        )
        python = Path(sys.executable)
        found = describe(source, home, python, Cancel(), confinement=walls.description())
        assert found.sample_shape == ("1",)
        assert (home / "data").exists()
        with pytest.raises(Exception, match="Connection refused"):
            describe(source, home, python, Cancel(), confinement=walls.experiment())
