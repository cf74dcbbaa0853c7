"""`fedenvoy review explain`: a dry run of an archive against a policy, which loads and runs nothing."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from fedenvoy.cli import cli
from fedenvoy.errors import Exit
from support.archives import archive
from support.pickled import carried, touches

PLAN = {
    "aggregator": {"template": "openfl.component.Aggregator", "settings": {"rounds_to_train": 7}},
    "collaborator": {"template": "openfl.component.Collaborator"},
    "network": {"template": "openfl.federation.Network", "settings": {"agg_addr": "director.example", "tls": True}},
    "task_runner": {"template": "openfl.federated.task.task_runner.CoreTaskRunner"},
    "api_layer": {
        "required_plugin_components": {"serializer_plugin": "openfl.plugins.CloudpickleSerializer"},
        "settings": {"tasks_interface_file": "tasks_obj.pkl", "model_interface_file": "model_obj.pkl"},
    },
}
APPROVES = (
    "rules:\n- {name: mine, decision: approve, when: {experiments: ['brain-*'], templates: [openfl]}}\ndefault: hold\n"
)
REJECTS = """
rules:
- {name: partners, decision: approve, when: {experiments: ['lung-*']}}
- {name: no shells, decision: reject, unless: {pickles: {flagged: none}}}
default: hold
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def openfl(home: Path) -> Path:
    """Give an archive as OpenFL's front end packs it."""
    path = home / "brain-1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("plan/plan.yaml", yaml.safe_dump(PLAN))
        opened.writestr("requirements.txt", "numpy==1.26.4\nopenfl==1.6\n")
        opened.writestr("tasks_obj.pkl", carried())
        opened.writestr("model_obj.pkl", touches(home / "canary"))
        opened.writestr("experiment.py", "import subprocess\n")
    return path


def explain(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["review", "explain", *map(str, arguments)], prog_name="fedenvoy")


def test_it_tells_what_is_in_an_archive_and_leaves_nothing_behind(home: Path, openfl: Path) -> None:
    result = explain(openfl)
    assert result.exit_code == Exit.OK
    for line in (
        "Experiment 'brain-1'",
        "Engine: openfl",
        "aggregator.template: openfl.component.Aggregator",
        "aggregator.settings.rounds_to_train: 7",
        "network.settings.agg_addr: director.example",
        "Requirements: 2",
        "LOOK TWICE AT: posix",
        "LOOK TWICE AT, IN ITS CODE: eval",
        "experiment.py: python, 18 B, 1 lines; LOOK TWICE AT: subprocess",
        "Decision: none",
    ):
        assert line in result.output
    assert not (home / "canary").exists()
    assert list((home / "tmp").iterdir()) == []


def test_it_says_which_rule_decides_and_why_the_others_do_not(home: Path, openfl: Path) -> None:
    (home / "policy.yaml").write_text(REJECTS)
    result = explain(openfl, "--policy", "policy.yaml")
    assert result.exit_code == Exit.REJECTED
    assert (
        "the rule 'partners' does not match: experiments: its name 'brain-1' matches none of 'lung-*'" in result.output
    )
    assert result.output.splitlines()[-1] == (
        "Decision: rejected by the rule 'no shells': pickles: model_obj.pkl imports or calls posix when it is loaded"
    )


@pytest.mark.parametrize(("name", "code"), [("brain-9", Exit.OK), ("other", Exit.HELD)])
def test_the_exit_code_is_the_decision(home: Path, openfl: Path, name: str, code: Exit) -> None:
    (home / "policy.yaml").write_text(APPROVES)
    assert explain(openfl, "--policy", "policy.yaml", "--name", name).exit_code == code


def test_json_has_all_of_it(home: Path, openfl: Path) -> None:
    (home / "policy.yaml").write_text(APPROVES)
    (home / "lock.txt").write_text("numpy==1.26.4 --hash=sha256:ab\n")
    found = json.loads(explain(openfl, "--policy", "policy.yaml", "--lock", "lock.txt", "--json").output)
    assert found["experiment"] == "brain-1"
    assert found["plan"]["values"]["aggregator.settings.rounds_to_train"] == 7
    assert found["judgement"]["decision"] == "approve"
    assert found["judgement"]["rule"] == "mine"
    assert len(found["policy"]["digest"]) == len(found["digest"]) == len(found["lock_digest"]) == 64
    assert {one["place"] for one in found["inspection"]["pickles"]} == {"model_obj.pkl", "tasks_obj.pkl"}
    assert found["notes"] == []


def test_the_configuration_gives_policy_and_limits(home: Path, openfl: Path) -> None:
    (home / "policy.yaml").write_text(APPROVES)
    (home / "shard.py").write_text("")
    config: dict[str, Any] = {
        "shard_descriptor": {"template": "shard.Shard"},
        "agent": {"review": {"mode": "policy", "policy": "policy.yaml"}, "archive": {"max_entries": 2}},
    }
    (home / "envoy_config.yaml").write_text(yaml.safe_dump(config))
    result = explain(openfl, "-ec", "envoy_config.yaml")
    assert result.exit_code == Exit.REJECTED
    assert "2 files and directories" in result.output
    config["agent"]["archive"] = {"max_entries": 10}
    (home / "envoy_config.yaml").write_text(yaml.safe_dump(config))
    result = explain(openfl, "-ec", "envoy_config.yaml")
    assert result.exit_code == Exit.OK
    assert "approved by the rule 'mine'" in result.output


@pytest.mark.parametrize("content", [b"", b"no zip", archive(plan="a: ["), archive(plan="unknown: 1\n")])
def test_an_archive_that_the_node_refuses_is_rejected_in_a_sentence(home: Path, content: bytes) -> None:
    (home / "bad.zip").write_bytes(content)
    result = explain("bad.zip")
    assert result.exit_code == Exit.REJECTED
    assert result.output.startswith("fedenvoy: error: bad.zip: ")
    assert result.output.count("\n") == 1


def test_a_bomb_is_refused_as_the_node_refuses_it(home: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("plan/plan.yaml", "a: 1")
        opened.writestr("zeros", bytes(64 * 2**20))
    (home / "bomb.zip").write_bytes(buffer.getvalue())
    result = explain("bomb.zip")
    assert result.exit_code == Exit.REJECTED
    assert list((home / "tmp").iterdir()) == []


def test_what_cannot_be_read_is_told_in_a_sentence(home: Path, openfl: Path) -> None:
    for arguments in (["none.zip"], [openfl, "--policy", "none.yaml"], [openfl, "--lock", "none.txt"], [home]):
        result = explain(*arguments)
        assert result.exit_code == Exit.CONFIGURATION
        assert result.output.startswith("fedenvoy: error: ")


def test_every_line_is_safe_to_print(home: Path, openfl: Path) -> None:
    result = explain(openfl, "--name", "x\x1b[2J\u202e\nDecision: approved")
    assert all(line.isprintable() for line in result.output.splitlines())
    assert "\nDecision: approved" not in result.output


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(cli, ["review", "explain", "--help"], prog_name="fedenvoy")
    assert "Example:" in result.output
    assert "fedenvoy review explain brain_tumours.zip" in result.output
