"""The operator's commands against a real agent and a real director: what is asked for happens, and is said."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fedenvoy.cli import cli
from fedenvoy.control import client
from fedenvoy.errors import Exit
from fedenvoy.status import gathering
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.archives import archive
from support.processes import Program, node_program, write_home

E, S = Event, State

BROKEN = "def run(shard, devices, plan):\n    raise RuntimeError('no such column')\n"


class Desk:
    """Where the operator sits; the commands run in the test's own process."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(cli, [words[0], "--state-dir", str(self.state), *words[1:]], prog_name="fedenvoy")

    def say(self, *words: str) -> str:
        """Give what a command that works says."""
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.output

    def refuse(self, code: Exit, *words: str) -> str:
        """Give the one sentence of a command that does not."""
        result = self.run(*words)
        assert result.exit_code == code, result.output
        assert result.output.count("\n") == 1
        assert result.output.startswith("fedenvoy: error: ")
        return result.output

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.say("status", "--json")))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "state")


@pytest.fixture
def home(tmp_path: Path, desk: Desk) -> Path:
    """Give a node's directory whose shard descriptor is there once the file `go` is."""
    home = tmp_path / "home"
    write_home(home, desk.state, grace=1.0, stop=0.3, drain=30.0)
    shard = (home / "my_shard.py").read_text()
    waits = "import time\nwhile not __import__('pathlib').Path('go').exists():\n    time.sleep(0.02)\n"
    (home / "my_shard.py").write_text(f"{shard}\n{waits}")
    return home


@contextmanager
def agent(home: Path, director: SandboxDirector) -> Iterator[Program]:
    (home / "go").touch()
    with node_program(home, director.address.port) as program:
        yield program


def endless(flag: Path) -> str:
    """An experiment that goes on until a file is there."""
    return (
        "import pathlib, time\ndef run(shard, devices, plan):\n"
        f"    while not pathlib.Path({str(flag)!r}).exists():\n        time.sleep(0.02)\n    return {{'done': 1}}\n"
    )


@contextmanager
def unanswered() -> Iterator[str]:
    """Give the address of a package index that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/simple"


# ---- Status


def test_status_in_every_state(home: Path, desk: Desk, tmp_path: Path) -> None:
    director = SandboxDirector()
    seen: dict[str, dict[str, Any]] = {}

    def look(state: str, why: str | None) -> dict[str, Any]:
        found = seen[state] = desk.status()
        assert found["state"] == state
        assert found["agent"]["running"]
        assert found["agent"]["answering"]
        assert not found["problems"]
        assert (found["not_training"] is None) if why is None else (why in found["not_training"]), found
        assert found["transitions"][-1]["target"] == state
        assert found["at"] - 60 < found["since"] <= found["at"]
        assert state in desk.say("status").splitlines()[0]
        return found

    with director, unanswered() as index, node_program(home, director.address.port) as program:
        director.stop()
        program.wait_line("--> Disconnected")
        assert look("Disconnected", "shard descriptor is being described")["link"] == {
            "up": False,
            "last_contact": None,
            "misses": 0,
        }
        (home / "go").touch()
        program.wait_line("--registration_failed--> Disconnected")
        found = look("Disconnected", "could not be reached")
        assert found["retry"] is None or found["retry"]["what"] == "dial"

        checks = director.hold("UpdateEnvoyStatus")
        director.start()
        program.wait_line("--> Registered")
        look("Registered", "has not answered the first health check")
        checks.release()
        program.wait_line("--> Idle")
        found = look("Idle", "offers no experiment")
        assert found["link"]["up"]
        assert found["at"] - 60 < found["link"]["last_contact"] <= found["at"]
        assert found["node"]["shard_name"] == "node-1"
        assert found["node"]["director"] == director.address.target
        assert found["experiment"] is None

        downloads = director.hold("GetExperimentData")
        wanted = f"--index-url {index}\nsome-package==1.0\n"
        director.offer("slow", archive(requirements=wanted), to=["node-1"])
        program.wait_line("--> ReviewingPlan")
        assert look("ReviewingPlan", "'slow' is being downloaded")["experiment"]["name"] == "slow"
        downloads.release()
        program.wait_line("--> InstallingRequirements")
        assert look("InstallingRequirements", "environment of experiment 'slow'")["experiment"]["run"] == 1

        reports = director.hold("SetExperimentFailed")
        assert "is being cancelled" in desk.say("cancel", "--wait", "0")
        program.wait_line("--> Reporting")
        found = look("Reporting", "the verdict on experiment 'slow' (cancelled) is being told")
        assert [(one["experiment"], one["verdict"]) for one in found["outbox"]] == [("slow", "cancelled")]
        reports.release()
        program.wait_line("--report_delivered--> Idle")
        found = desk.status()
        assert [(one["experiment"], one["why"]) for one in found["declined"]] == [("slow", "cancelled here")]
        assert 0 < found["declined"][0]["until"] - found["at"] <= 60
        assert not found["outbox"]

        director.offer("long", archive(endless(tmp_path / "flag")), to=["node-1"])
        program.wait_line("--> Training")
        found = look("Training", None)
        assert found["experiment"]["name"] == "long"
        assert found["experiment"]["run"] == 2
        assert 0 <= found["experiment"]["age"] < 60
        (tmp_path / "flag").touch()
        program.wait_line("--training_finished--> Reporting")
        assert desk.say("stop", "--wait", "60").endswith("has stopped\n")
        assert program.end() == 0

    found = desk.status()
    assert found["state"] == "Stopped"
    assert not found["agent"]["running"]
    assert found["agent"]["pid"] is None
    assert "exit code 0, ended as asked" in found["not_training"]
    assert len(found["transitions"]) == 10
    assert all(one.keys() == found.keys() for one in seen.values())
    (directory,) = desk.state.glob("node-1*")
    assert not [path.name for path in directory.iterdir() if path.name.endswith(("-wal", "-shm", ".sock"))]


def test_B52_an_agent_that_is_stuck_on_a_job_says_with_which_and_for_how_long(
    home: Path, desk: Desk, director: SandboxDirector, tmp_path: Path
) -> None:
    director.offer("stuck", archive(endless(tmp_path / "never")), to=["node-1"])
    with agent(home, director) as program:
        program.wait_line("--> Training")
        first = desk.status()["experiment"]
        second = desk.status()["experiment"]
        assert first["name"] == second["name"] == "stuck"
        assert second["since"] == first["since"]
        assert second["age"] > first["age"]
        assert "'stuck', run 1, for " in desk.say("status")

        program.send(signal.SIGKILL)
        program.end()
    found = desk.status()
    assert not found["agent"]["running"]
    assert found["state"] == "Training"
    assert found["experiment"]["name"] == "stuck"
    assert found["experiment"]["since"] == first["since"]
    assert "killed, or this machine went down, in Training" in found["not_training"]
    assert "not running (last state Training)" in desk.say("status")
    for command in (("cancel",), ("pause",), ("resume",), ("forget", "stuck"), ("stop",)):
        assert "is not running" in desk.refuse(Exit.ABSENT, *command)


def test_an_agent_that_does_not_answer_is_told_from_one_that_is_dead(
    home: Path, desk: Desk, director: SandboxDirector, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(client.ask, timeout=0.3)
    monkeypatch.setattr(gathering, "ask", quick)
    monkeypatch.setattr(client, "ask", quick)
    with agent(home, director) as program:
        program.wait_line("--> Idle")
        program.send(signal.SIGSTOP)
        os.waitid(os.P_PID, program.process.pid, os.WSTOPPED | os.WNOWAIT)
        found = desk.status()
        assert found["agent"]["running"]
        assert not found["agent"]["answering"]
        assert found["agent"]["pid"] == program.process.pid
        assert found["state"] == "Idle"
        assert "does not answer" in found["problems"][0]
        assert f"process {program.process.pid}" in desk.refuse(Exit.FAILED, "pause")
        program.send(signal.SIGCONT)


# ---- Commands


def test_cancel_in_training_tells_the_director(
    home: Path, desk: Desk, director: SandboxDirector, tmp_path: Path
) -> None:
    with agent(home, director) as program:
        program.wait_line("--> Idle")
        assert "nothing to cancel" in desk.refuse(Exit.ABSENT, "cancel")
        assert desk.run("cancel", "--reason", "x" * 2001).exit_code == Exit.USAGE
        director.offer("exp", archive(endless(tmp_path / "never")), to=["node-1"])
        program.wait_line("--> Training")
        said = desk.say("cancel", "--reason", "needed for patients", "--wait", "60")
        assert "experiment 'exp' is cancelled, and the director was told" in said
        (report,) = director.reports
        assert report.experiment_name == "exp"
        assert "needed for patients" in report.error_description
        assert "nothing to cancel" in desk.refuse(Exit.ABSENT, "cancel")


def test_cancel_without_a_director_keeps_the_verdict(
    home: Path, desk: Desk, director: SandboxDirector, tmp_path: Path
) -> None:
    director.set_period(1.0)
    director.offer("exp", archive(endless(tmp_path / "never")), to=["node-1"])
    with agent(home, director) as program:
        program.wait_line("--> Training")
        director.stop()
        assert "the director is told when it can be reached" in desk.say("cancel", "--wait", "60")
        assert [one["experiment"] for one in desk.status()["outbox"]] == ["exp"]


def test_pause_declines_survives_a_restart_and_resume_takes_the_offer_at_once(
    desk: Desk, director: SandboxDirector
) -> None:
    with running(config(director.address, desk.state)) as node:
        node.wait_state(S.IDLE)
        assert "is paused: it takes no new experiment" in desk.say("pause")
        assert "is paused: it takes no new experiment" in desk.say("pause")
        assert node.stop() is Exit.OK
    assert desk.status()["paused"]

    director.offer("exp", archive(), to=["node-1"])
    with running(config(director.address, desk.state)) as node:
        node.wait(lambda rs: any(r.event is E.EXPERIMENT_OFFERED and r.target is S.IDLE for r in rs))
        found = desk.status()
        assert found["paused"]
        assert "`fedenvoy resume`" in found["not_training"]
        assert S.REVIEWING_PLAN not in node.path
        director.offer("exp2", archive(), to=["node-1"])
        assert "is not paused: it takes experiments" in desk.say("resume")
        assert "is not paused: it takes experiments" in desk.say("resume")
        node.wait_event(E.TRAINING_FINISHED)
        assert not desk.status()["paused"]
    assert not desk.status()["paused"]


def test_pause_in_training_lets_it_finish(desk: Desk, director: SandboxDirector, tmp_path: Path) -> None:
    director.offer("exp", archive(endless(tmp_path / "flag")), to=["node-1"])
    with running(config(director.address, desk.state)) as node:
        node.wait_state(S.TRAINING)
        assert "; 'exp' goes on" in desk.say("pause")
        (tmp_path / "flag").touch()
        node.wait_event(E.REPORT_DELIVERED)
        assert node.count(E.TRAINING_FINISHED) == 1


def test_forget_lets_a_settled_archive_run_again(desk: Desk, director: SandboxDirector) -> None:
    with running(config(director.address, desk.state)) as node:
        node.wait_state(S.IDLE)
        assert "remembers nothing of 'exp'; it declines no name" in desk.refuse(Exit.ABSENT, "forget", "exp")
        director.offer("exp", archive(BROKEN), to=["node-1"])
        node.wait_event(E.TRAINING_FAILED)
        node.wait_state(S.IDLE, times=2)
        director.offer("exp", archive(BROKEN), to=["node-1"])
        node.wait(lambda rs: any(r.event is E.EXPERIMENT_OFFERED and r.target is S.IDLE for r in rs))
        found = desk.status()
        assert [one["experiment"] for one in found["declined"]] == ["exp"]
        assert "the last offer, 'exp', was declined" in found["not_training"]
        assert "it declines 'exp'" in desk.refuse(Exit.ABSENT, "forget", "another")

        assert "has forgotten 'exp'" in desk.say("forget", "exp")
        assert not desk.status()["declined"]
        director.offer("exp", archive(BROKEN), to=["node-1"])
        node.wait_event(E.TRAINING_FAILED, times=2)
    assert [(one["experiment"], one["until"]) for one in desk.status()["declined"]] == [("exp", None)]


def test_B53_stop_withdraw_tells_the_director_and_ends(
    home: Path, desk: Desk, director: SandboxDirector, tmp_path: Path
) -> None:
    """Also where the experiment's process takes longer to end than a stop gives to the telling."""
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + endless(tmp_path / "never")
    director.offer("exp", archive(stubborn), to=["node-1"])
    with agent(home, director) as program:
        program.wait_line("--> Training")
        assert "has stopped" in desk.say("stop", "--withdraw", "--wait", "60")
        assert program.end() == Exit.OK
    (report,) = director.reports
    assert "this node is being stopped" in report.error_description
    assert "is not running" in desk.refuse(Exit.ABSENT, "stop")


def test_stop_withdraw_without_a_director_says_that_the_verdict_is_kept(
    desk: Desk, director: SandboxDirector, tmp_path: Path
) -> None:
    director.set_period(1.0)
    director.offer("exp", archive(endless(tmp_path / "never")), to=["node-1"])
    with running(config(director.address, desk.state)) as node:
        node.wait_state(S.TRAINING)
        director.stop()
        assert "; the director is told of 'exp' after the next start" in desk.say("stop", "--withdraw", "--wait", "60")
        assert node.join() is Exit.OK


def test_stop_in_training_says_how_long_it_may_take_and_stop_now_ends_it(
    home: Path, desk: Desk, director: SandboxDirector, tmp_path: Path
) -> None:
    director.offer("exp", archive(endless(tmp_path / "never")), to=["node-1"])
    with agent(home, director) as program:
        program.wait_line("--> Training")
        assert "is stopping: experiment 'exp' has up to 30 s to finish" in desk.say("stop", "--wait", "0")
        program.wait_line("stop_requested")
        found = desk.status()
        assert found["agent"]["stopping"]
        assert "Training, stopping" in desk.say("status").splitlines()[0]
        assert "has stopped" in desk.say("stop", "--now", "--wait", "60")
        assert program.end() == Exit.ABORTED
    assert not director.reports


# ---- Which node


def test_which_node_is_meant(desk: Desk, director: SandboxDirector, tmp_path: Path) -> None:
    assert "no node keeps its state in" in desk.refuse(Exit.ABSENT, "status")
    with (
        running(config(director.address, desk.state, shard_name="one")) as one,
        running(config(director.address, desk.state, shard_name="two")) as two,
    ):
        one.wait_state(S.IDLE)
        two.wait_state(S.IDLE)
        assert "-n one, or -n two" in desk.refuse(Exit.USAGE, "pause")
        assert "two" in desk.say("pause", "-n", "two", "-dh", "127.0.0.1", "-dp", str(director.address.port))
        assert "there are one at" in desk.refuse(Exit.ABSENT, "pause", "-n", "three")
        assert not one.node.snapshot.paused
        assert two.node.snapshot.paused
        (directory,) = desk.state.glob("one*")
        assert Desk(directory).status()["node"]["shard_name"] == "one"


def test_the_user_s_own_state_directory_is_looked_into(
    desk: Desk, director: SandboxDirector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(desk.state))
    with running(config(director.address, desk.state)) as node:
        node.wait_state(S.IDLE)
        result = CliRunner().invoke(cli, ["status"])
    assert "node-1 at" in result.output


def test_an_agent_whose_socket_cannot_be_opened_works(
    desk: Desk, director: SandboxDirector, caplog: pytest.LogCaptureFixture
) -> None:
    with running(config(director.address, desk.state)) as node:
        node.wait_state(S.IDLE)
    (directory,) = desk.state.glob("node-1*")
    (directory / "control.sock").mkdir()
    director.offer("exp", archive(), to=["node-1"])
    with running(config(director.address, desk.state)) as node:
        node.wait_event(E.TRAINING_FINISHED)
        found = desk.status()
        assert found["agent"]["pid"] == os.getpid()
        assert "does not answer" in found["problems"][0]
        assert found["experiment"] is None or found["experiment"]["name"] == "exp"
    assert "control.sock cannot be opened" in caplog.text


def test_a_damaged_journal_is_a_problem_and_not_an_end(desk: Desk, director: SandboxDirector) -> None:
    with running(config(director.address, desk.state)) as node:
        node.wait_state(S.IDLE)
    (directory,) = desk.state.glob("node-1*")
    (directory / "journal.sqlite3").write_bytes(b"no database" * 1000)
    found = desk.status()
    assert "journal.sqlite3 cannot be read" in found["problems"][0]
    assert found["state"] is None
    assert "problem" in desk.say("status")
