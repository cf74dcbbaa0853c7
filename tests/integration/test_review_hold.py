"""Experiments that wait for people: a real agent and director, and people at real commands."""

from __future__ import annotations

import grp
import hashlib
import http.server
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fedenvoy.app.node import Node
from fedenvoy.cli import cli
from fedenvoy.config import DirectorAddress, NodeConfig, RequirementsSettings, ReviewSettings
from fedenvoy.errors import ConfigurationError, Exit
from fedenvoy.review import holds, notice
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import RunningNode, config, running
from support.archives import GOOD, archive
from support.environments import wheel

E, S = Event, State
PATIENCE = 20.0
ME = f"uid {os.getuid()}"


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

    def wait(self) -> dict[str, Any]:
        """Wait until the experiment in hand waits for people, and give that."""
        end = time.monotonic() + PATIENCE
        while True:
            result = self.run("list", "--json")
            found = json.loads(result.output)["waiting"] if result.exit_code == 0 else []
            for case in found:
                if case["in_hand"]:
                    return dict(case)
            assert time.monotonic() < end, result.output
            time.sleep(0.02)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "state")


def holding(director: SandboxDirector, desk: Desk, site: Mapping[str, Any] | None = None, **review: Any) -> NodeConfig:
    settings = ReviewSettings(**({"mode": "hold"} | review))
    return config(director.address, desk.state, agent__review=settings, **(site or {}))


def cause(node: RunningNode, event: Event) -> str:
    return next(record.cause for record in node.records if record.event is event)


def test_what_is_approved_runs(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk)) as node:
        node.wait_state(S.REVIEWING_PLAN)
        case = desk.wait()
        assert case["experiment"] == "exp"
        shown = desk.say("show", "exp", "--diff")
        assert "entry: experiment_code:run" in shown
        assert "+def run(shard, devices, plan):" in shown
        said = desk.say("approve", "exp", "--reason", "as agreed", "--as", "Anna Berg")
        assert "'exp' is approved, 1 of 1" in said
        node.wait_event(E.TRAINING_FINISHED)
        words = cause(node, E.PLAN_APPROVED)
        assert f"approved by Anna Berg [{ME}]" in words
        assert "as agreed" in words
        assert not desk.waiting()


def test_where_an_experiment_could_approve_the_next_that_is_said(
    director: SandboxDirector, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk, site={"agent__isolation": "process"})) as node:
        desk.wait()
        assert "one that runs could approve the next" in caplog.text
        assert node.stop() is Exit.OK
    caplog.clear()
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk, site={"agent__isolation": "sandbox"})):
        desk.wait()
        assert "could approve the next" not in caplog.text


def test_what_is_rejected_is_told_without_the_reason_and_not_asked_again(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk)) as node:
        desk.wait()
        assert "'exp' is rejected" in desk.say("reject", "exp", "--reason", "it copies the shard", "--as", "Anna")
        node.wait_event(E.REPORT_DELIVERED)
        assert f"rejected by Anna [{ME}]" in cause(node, E.PLAN_REJECTED)
        assert "it copies the shard" in cause(node, E.PLAN_REJECTED)
        (report,) = director.reports
        assert report.error_description.startswith("the experiment was rejected by this node's reviewer (archive ")
        assert not desk.waiting()
        assert "no experiment 'exp' waits" in desk.refuse(Exit.ABSENT, "approve", "exp", "--reason", "after all")
        assert S.TRAINING not in node.path


def test_nobody_s_decision_rejects_when_its_time_is_over(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk, timeout=0.3)) as node:
        node.wait_event(E.PLAN_REJECTED)
        assert "nobody decided within 0 s, 0 of 1 approved" in cause(node, E.PLAN_REJECTED)
        node.wait_event(E.REPORT_DELIVERED)
        assert not desk.waiting()


def test_health_checks_go_on_and_status_tells_what_is_waited_for(director: SandboxDirector, desk: Desk) -> None:
    director.set_period(1.0)
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk, required_approvals=2)) as node:
        case = desk.wait()
        seen = len(director.calls_of("UpdateEnvoyStatus"))
        director.wait_for_calls("UpdateEnvoyStatus", seen + 2)
        status = CliRunner().invoke(cli, ["status", "--state-dir", str(desk.state), "--json"])
        found = json.loads(status.output)
        assert found["state"] == "ReviewingPlan"
        assert found["review"]["id"] == case["id"]
        assert (found["review"]["approvals"], found["review"]["needed"]) == (0, 2)
        assert "waits for approval, 0 of 2" in found["not_training"]
        assert node.count(E.PLAN_APPROVED) == 0


def test_a_cancelled_hold_leaves_nothing_that_runs_and_keeps_what_was_said(
    director: SandboxDirector, desk: Desk
) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk)) as node:
        desk.wait()
        node.node.cancel("no time")
        node.wait_event(E.REPORT_DELIVERED)
        (case,) = desk.waiting()
        assert not case["in_hand"]
        assert "it runs when the director offers it again" in desk.say("approve", "exp", "--reason", "later")
        assert "'exp' is rejected: it is refused when" in desk.say("reject", "exp", "--reason", "on second thoughts")
        forgotten = CliRunner().invoke(cli, ["forget", "--state-dir", str(desk.state), "exp"])
        assert forgotten.exit_code == 0, forgotten.output
        assert not desk.waiting(), "it is asked about anew"


# ---- Identities


def test_two_approvals_are_two_people_s(director: SandboxDirector, desk: Desk, tmp_path: Path) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk, required_approvals=2)) as node:
        desk.wait()
        assert "has 1 of 2 approvals" in desk.say("approve", "exp", "--reason", "before there are tokens")
        tokens = {name: tmp_path / f"{name}.token" for name in ("Anna", "Bo")}
        for name, path in tokens.items():
            path.write_text(desk.say("token", name))
        assert "approve with their tokens" in desk.refuse(Exit.FAILED, "approve", "exp", "--reason", "as root")

        def approve(name: str, whose: str) -> tuple[str, ...]:
            return ("approve", "exp", "--reason", "fine", "--as", name, "--token-file", str(tokens[whose]))

        assert "the token is not 'Bo''s" in desk.refuse(Exit.FAILED, *approve("Bo", "Anna")).replace("\\", "")
        assert "the token is not 'Cy''s" in desk.refuse(Exit.FAILED, *approve("Cy", "Anna")).replace("\\", "")
        assert "has 1 of 2 approvals" in desk.say(*approve("Anna", "Anna"))
        assert "has 1 of 2 approvals" in desk.say(*approve("Anna", "Anna"))
        (case,) = desk.waiting()
        assert [(vote["identity"], vote["approve"]) for vote in case["votes"]] == [("token Anna", True)]
        assert "is approved, 2 of 2" in desk.say(*approve("Bo", "Bo"))
        node.wait_event(E.TRAINING_FINISHED)
        words = cause(node, E.PLAN_APPROVED)
        assert "Anna [token Anna]" in words
        assert "Bo [token Bo]" in words


def test_only_a_token_s_hash_is_kept_and_a_revoked_one_counts_no_more(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk)):
        desk.wait()
        secret = desk.say("token", "Anna").strip()
        (path,) = desk.state.glob("*/reviews/reviewers.json")
        assert secret not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0
        assert "has no token any more" in desk.say("token", "Anna", "--revoke")
        assert "has no token here" in desk.refuse(Exit.FAILED, "token", "Anna", "--revoke")
        approve = ("approve", "exp", "--reason", "fine", "--as", "Anna")
        result = CliRunner(env={"FEDENVOY_REVIEW_TOKEN": secret}).invoke(
            cli, ["review", approve[0], "--state-dir", str(desk.state), *approve[1:]]
        )
        assert result.exit_code == Exit.FAILED
        assert "the token is not 'Anna''s" in result.output.replace("\\", "")
        assert "is approved, 1 of 1" in desk.say(*approve)


MEMBER = """
import os, socket, sys
os.setgroups([int(sys.argv[2])]), os.setgid(65534), os.setuid(54322)
for request in sys.argv[3:]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        connection.sendall(request.encode() + bytes([10]))
        print(connection.makefile().read(), end="")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_member_of_the_group_approves_as_himself_and_can_do_nothing_else(director: SandboxDirector) -> None:
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        desk = Desk(Path(top) / "state")
        director.offer("exp", archive(), to=["node-1"])
        group = grp.getgrgid(1)
        with running(holding(director, desk, group=group.gr_name)) as node:
            case = desk.wait()
            (address,) = desk.state.glob("*/control.sock")
            vote = {"command": "review_approve", "case": case["id"], "reason": "fine", "name": "Anna"}
            requests = [{"command": "review_token", "name": "Anna"}, {"command": "cancel"}, vote]
            argv = [str(address), str(group.gr_gid), *map(json.dumps, requests)]
            done = subprocess.run(
                [sys.executable, "-c", MEMBER, *argv], capture_output=True, text=True, timeout=60, check=False
            )
            token, cancelled, approved = map(json.loads, done.stdout.splitlines())
            assert "make tokens" in token["error"], done.stderr
            assert "nothing else" in cancelled["error"]
            assert approved["identity"] == "uid 54322"
            node.wait_event(E.TRAINING_FINISHED)
            assert "approved by Anna [uid 54322]" in cause(node, E.PLAN_APPROVED)


# ---- What an approval is bound to


def test_an_approval_outlives_a_restart_of_the_node(director: SandboxDirector, desk: Desk) -> None:
    packed = archive()
    director.offer("exp", packed, to=["node-1"])
    with running(holding(director, desk, required_approvals=2)) as node:
        before = desk.wait()
        desk.say("approve", "exp", "--reason", "fine", "--as", "Anna")
        assert node.stop() is Exit.OK
    assert "is not running" in desk.refuse(Exit.ABSENT, "list")
    director.offer("exp", packed, to=["node-1"])
    with running(holding(director, desk, required_approvals=2)) as node:
        case = desk.wait()
        assert (case["id"], case["since"], case["deadline"]) == (before["id"], before["since"], before["deadline"])
        assert [vote["name"] for vote in case["votes"]] == ["Anna"]
        assert node.stop() is Exit.OK
    director.offer("exp", packed, to=["node-1"])
    with running(holding(director, desk, required_approvals=1)) as node:
        node.wait_event(E.TRAINING_FINISHED)
        assert not desk.waiting()
    director.offer("exp", packed, to=["node-1"])
    with running(holding(director, desk)) as node:
        case = desk.wait()
        assert not case["votes"], "an approval is for one run"
        assert "Exactly this archive was approved last." in desk.say("show", "exp", "--diff")


def test_an_approval_outlives_a_restart_of_the_director(desk: Desk) -> None:
    with SandboxDirector(period=1.0) as director:
        director.offer("exp", archive(), to=["node-1"])
        with running(holding(director, desk)) as node:
            desk.wait()
            director.restart()
            node.wait_event(E.SHARD_FORGOTTEN)
            director.wait_for(lambda _calls: "node-1" in director.nodes)
            assert desk.wait()["experiment"] == "exp"
            director.offer("exp", archive(), to=["node-1"])
            node.wait_event(E.EXPERIMENT_REOFFERED)
            assert "it goes on" in desk.say("approve", "exp", "--reason", "fine")
            node.wait_event(E.TRAINING_FINISHED)


def test_another_archive_of_the_name_voids_the_approvals(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk, required_approvals=2)) as node:
        first = desk.wait()
        desk.say("approve", "exp", "--reason", "fine", "--as", "Anna")
        assert node.stop() is Exit.OK
    director.offer("exp", archive(f"{GOOD}# and more\n"), to=["node-1"])
    with running(holding(director, desk, required_approvals=2)) as node:
        case = desk.wait()
        assert case["id"] != first["id"]
        assert not case["votes"]
        assert case["void"] == "approved before by Anna, which counts no more: another archive"
        assert "counts no more" in desk.say("show", "exp")
        assert "no experiment" in desk.refuse(Exit.ABSENT, "approve", first["id"][:12], "--reason", "the old one")
        assert node.stop() is Exit.OK


VERSION = "import alpha\ndef run(shard, devices, plan):\n    return {'version': float(alpha.VERSION)}\n"


@pytest.mark.nightly
def test_another_lock_voids_the_approvals_and_exactly_the_approved_lock_is_installed(
    director: SandboxDirector, desk: Desk, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "alpha", "1.0")
    site = {"agent__requirements": RequirementsSettings(mode="offline", wheels=wheels)}
    packed = archive(VERSION, requirements="alpha\n")
    director.offer("exp", packed, to=["node-1"])
    with running(holding(director, desk, required_approvals=2, site=site)) as node:
        first = desk.wait()
        assert "alpha==1.0" in desk.say("show", "exp")
        desk.say("approve", "exp", "--reason", "fine", "--as", "Anna")
        assert node.stop() is Exit.OK
    wheel(wheels, "alpha", "2.0")
    director.offer("exp", packed, to=["node-1"])
    with running(holding(director, desk, site=site)) as node:
        case = desk.wait()
        assert (case["archive"] == first["archive"], case["lock"] == first["lock"]) == (True, False)
        assert case["void"] == "approved before by Anna, which counts no more: another lock of its requirements"
        shown = desk.say("show", "exp")
        assert "alpha==2.0" in shown
        assert "--hash=sha256:" in shown
        wheel(wheels, "alpha", "3.0")
        desk.say("approve", "exp", "--reason", "fine")
        node.wait_event(E.REPORT_DELIVERED)
        assert cause(node, E.TRAINING_FINISHED) == "version=2"
        assert f"lock {case['lock'][:12]}" in cause(node, E.PLAN_APPROVED)


def test_the_diff_is_against_the_archive_that_was_approved_last(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk)) as node:
        desk.wait()
        desk.say("approve", "exp", "--reason", "fine")
        node.wait_event(E.REPORT_DELIVERED)
    director.offer("exp", archive(GOOD.replace("sum(", "max(")), to=["node-1"])
    with running(holding(director, desk)):
        desk.wait()
        shown = desk.say("show", "exp", "--diff")
        assert "-    return {'sum': sum(shard" in shown
        assert "+    return {'sum': max(shard" in shown
        assert "-    return" not in desk.say("show", "exp")


# ---- What runs is what was approved


WRITES = (
    "import os\ndef run(shard, devices, plan):\n    return {'sum': 1, 'planted': float(os.path.exists('planted'))}\n"
)
"""Tells whether a file was planted beside it."""


def in_run(desk: Desk, name: str) -> Path:
    (path,) = desk.state.glob(f"*/runs/*/{name}")
    return path


def test_what_happened_to_the_workspace_while_people_thought_is_not_run(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(WRITES), to=["node-1"])
    with running(holding(director, desk)) as node:
        desk.wait()
        workspace = in_run(desk, "workspace")
        (workspace / "experiment_code.py").write_text("raise SystemExit(3)\n")
        (workspace / "planted").write_text("")
        (workspace / "plan" / "plan.yaml").write_text("engine: callable\ncallable: {entry: other:run}\n")
        desk.say("approve", "exp", "--reason", "fine")
        node.wait(lambda rs: any(r.event in {E.TRAINING_FINISHED, E.TRAINING_FAILED} for r in rs))
        assert cause(node, E.TRAINING_FINISHED) == "sum=1, planted=0"


def test_an_archive_that_was_changed_after_its_approval_is_not_run(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk)) as node:
        case = desk.wait()
        in_run(desk, "archive.zip").write_bytes(archive(WRITES))
        desk.say("approve", "exp", "--reason", "fine")
        node.wait_event(E.TRAINING_FAILED)
        words = cause(node, E.TRAINING_FAILED)
        assert words.startswith("environment: the archive was changed on this machine after it was approved")
        assert f"approved was {case['archive']}" in words
        assert node.count(E.TRAINING_FINISHED) == 0


# ---- Telling somebody


class Hook(http.server.BaseHTTPRequestHandler):
    """Takes what is posted; fails as often as the server wants."""

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, HookServer)
        server.got.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(503 if server.failures else 204)
        server.failures = max(0, server.failures - 1)
        self.end_headers()

    def log_message(self, *_words: Any) -> None:
        pass


class HookServer(http.server.HTTPServer):
    def __init__(self, failures: int) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.got: queue.Queue[bytes] = queue.Queue()
        self.failures = failures


@contextmanager
def hook(failures: int = 0) -> Iterator[HookServer]:
    with HookServer(failures) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def told(desk: Desk) -> str:
    """Wait until it is written down what came of telling somebody."""
    end = time.monotonic() + PATIENCE
    while not (words := desk.wait()["told"]):
        assert time.monotonic() < end
        time.sleep(0.02)
    return str(words)


def test_a_command_and_a_webhook_are_told_once_and_nothing_secret(
    director: SandboxDirector, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "hunter2")
    out = tmp_path / "told"
    packed = archive()
    director.offer("exp", packed, to=["node-1"])
    with hook() as server:
        review: dict[str, Any] = {
            "notify": ("/bin/sh", "-c", f"cat >> {out}; env >> {out}"),
            "webhook": f"http://127.0.0.1:{server.server_port}/secret-path",
        }
        with running(holding(director, desk, **review)) as node:
            case = desk.wait()
            assert told(desk) == "/bin/sh was told; 127.0.0.1 was told"
            assert node.stop() is Exit.OK
        director.offer("exp", packed, to=["node-1"])
        with running(holding(director, desk, **review)):
            desk.wait()
        content = json.loads(server.got.get(timeout=PATIENCE))
        assert (content["experiment"], content["id"], content["decision"]) == ("exp", case["id"], "waiting")
        assert server.got.empty(), "it was told before the restart"
    text = out.read_text()
    assert json.loads(text[: text.index("}") + 1])["id"] == case["id"]
    assert "hunter2" not in text


@pytest.mark.nightly
def test_a_webhook_that_fails_is_tried_again_and_one_that_hangs_holds_nothing_up(
    director: SandboxDirector, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice, "PAUSES", (0.0, 0.0, 0.0))
    director.offer("exp", archive(), to=["node-1"])
    with (
        hook(failures=2) as server,
        running(holding(director, desk, webhook=f"http://127.0.0.1:{server.server_port}/")) as node,
    ):
        assert told(desk) == "127.0.0.1 was told"
        assert server.got.qsize() == 3
        assert node.stop() is Exit.OK
    monkeypatch.setattr(notice, "DEADLINE", 0.3)
    director.offer("two", archive(), to=["node-1"])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/token-in-the-path"
        review: dict[str, Any] = {"webhook": url, "notify": ("/bin/sh", "-c", "sleep 600")}
        with running(holding(director, desk, **review)) as node:
            desk.wait()
            words = told(desk)
            assert "/bin/sh did not end within 0.3 s" in words
            assert "127.0.0.1: timed out" in words
            assert "token-in-the-path" not in words
            assert "it goes on" in desk.say("approve", "two", "--reason", "fine")
            node.wait_event(E.TRAINING_FINISHED)


# ---- With a policy


def rules(path: Path, *listed: dict[str, Any], default: str = "hold") -> Path:
    """Write a policy; without a rule it has one that matches nothing."""
    nothing = {"name": "nothing", "decision": "reject", "when": {"experiments": ["no such name"]}}
    path.write_text(json.dumps({"rules": list(listed) or [nothing], "default": default}))
    return path


def all_of(decision: str) -> dict[str, Any]:
    return {"name": f"{decision} all", "decision": decision, "when": {"engines": ["callable"]}}


def by(director: SandboxDirector, desk: Desk, path: Path, **review: Any) -> NodeConfig:
    return holding(director, desk, mode="policy", policy=path, **review)


def test_a_policy_decides_without_anybody_and_the_journal_has_its_rule_and_digest(
    director: SandboxDirector, desk: Desk, tmp_path: Path
) -> None:
    path = rules(tmp_path / "policy.yaml", all_of("approve"))
    director.offer("exp", archive(), to=["node-1"])
    with running(by(director, desk, path)) as node:
        node.wait_event(E.REPORT_DELIVERED)
        words = cause(node, E.PLAN_APPROVED)
        assert "approved by the rule 'approve all'" in words
        assert f"policy {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}" in words
        assert not desk.waiting()
        rules(path, all_of("reject"))
        director.offer("two", archive(), to=["node-1"])
        node.wait_event(E.PLAN_REJECTED)
        assert "rejected by the rule 'reject all'" in cause(node, E.PLAN_REJECTED)


def test_a_policy_that_changes_while_something_waits_voids_what_was_approved_by_it(
    director: SandboxDirector, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LOOK", 0.05)
    path = rules(tmp_path / "policy.yaml")
    director.offer("exp", archive(), to=["node-1"])
    with running(by(director, desk, path, required_approvals=2)) as node:
        first = desk.wait()
        assert "held for a person by the policy's default" in first["why"]
        desk.say("approve", "exp", "--reason", "fine", "--as", "Anna")
        rules(path, all_of("hold"))
        end = time.monotonic() + PATIENCE
        while (case := desk.wait())["id"] == first["id"]:
            assert time.monotonic() < end
        assert "held for a person by the rule 'hold all'" in case["why"]
        assert not case["votes"]
        assert case["void"] == "approved before by Anna, which counts no more: another policy"
        rules(path, all_of("approve"))
        node.wait_event(E.TRAINING_FINISHED)
        assert not desk.waiting()


def test_an_approval_under_a_policy_that_has_just_changed_is_not_taken(
    director: SandboxDirector, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LOOK", 600.0)  # the vote alone can notice it
    path = rules(tmp_path / "policy.yaml")
    director.offer("exp", archive(), to=["node-1"])
    with running(by(director, desk, path)) as node:
        case = desk.wait()
        rules(path, all_of("reject"))
        said = desk.refuse(Exit.FAILED, "approve", "exp", "--reason", "fine")
        assert "the policy has changed since 'exp' was judged by it" in said
        node.wait_event(E.PLAN_REJECTED)
        assert "rejected by the rule 'reject all'" in cause(node, E.PLAN_REJECTED)
        assert "no experiment" in desk.refuse(Exit.ABSENT, "approve", case["id"][:12], "--reason", "fine")


def test_a_broken_policy_lets_everything_wait_and_says_why(
    director: SandboxDirector, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LOOK", 0.05)
    path = tmp_path / "policy.yaml"
    path.write_text("rules: [")
    director.offer("exp", archive(), to=["node-1"])
    with running(by(director, desk, path)) as node:
        case = desk.wait()
        assert "the policy cannot be used: " in case["why"]
        assert "policy.yaml: line 1" in case["why"]
        path.unlink()
        end = time.monotonic() + PATIENCE
        while "no such file" not in desk.wait()["why"]:
            assert time.monotonic() < end
        assert "it goes on" in desk.say("approve", "exp", "--reason", "looked at it by hand")
        node.wait_event(E.TRAINING_FINISHED)


def test_a_callback_beside_it_can_refuse_what_nobody_is_then_asked_about(director: SandboxDirector, desk: Desk) -> None:
    director.offer("exp", archive(), to=["node-1"])
    with running(holding(director, desk), review=lambda _name, _path: False) as node:
        node.wait_event(E.PLAN_REJECTED)
        assert not desk.waiting()


def test_without_people_in_the_review_nothing_can_be_asked(director: SandboxDirector, desk: Desk) -> None:
    with running(config(director.address, desk.state)) as node:
        node.wait_state(S.IDLE)
        assert "agent.review.mode is accept" in desk.refuse(Exit.FAILED, "list")


@pytest.mark.parametrize("review", [{"mode": "callback"}, {"mode": "prompt"}, {"mode": "policy"}, {"mode": "hodl"}])
def test_a_node_whose_reviewer_is_not_there_does_not_start(desk: Desk, review: dict[str, Any]) -> None:
    settings = config(DirectorAddress("127.0.0.1", 1), desk.state, agent__review=ReviewSettings(**review))
    with pytest.raises(ConfigurationError, match=r"agent\.review\.mode"):
        Node(settings).run()
