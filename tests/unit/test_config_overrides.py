"""Settings from the environment and the command line: which wins, what is said of wrong ones, and what is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fedenvoy.cli import cli
from fedenvoy.cli_config import shown
from fedenvoy.config import DirectorAddress, NodeConfig
from fedenvoy.configfile import load
from fedenvoy.configfile.names import setting_names, variable_name
from fedenvoy.errors import ConfigurationError, Exit

FILE = """
shard_descriptor: {template: shard.Shard}
agent:
  review: {mode: accept}
  link: {tries: 2, call_timeout: 20s}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "envoy_config.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(home: Path, environ: Mapping[str, str] = {}, *assignments: str, warned: list[str] | None = None) -> NodeConfig:
    return load(
        Path("envoy_config.yaml"),
        shard_name="one",
        director=DirectorAddress("localhost", 1),
        tls=False,
        root_certificate=None,
        private_key=None,
        certificate=None,
        home=home,
        warn=(warned if warned is not None else []).append,
        environ=environ,
        assignments=assignments,
    )


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(cli, ["config", *arguments])


def test_each_setting_has_a_variable_of_its_own() -> None:
    names = list(setting_names())
    assert len({variable_name(name) for name in names}) == len(names)
    assert variable_name("agent.link.tries") == "FEDENVOY_LINK_TRIES"


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(home: Path) -> None:
    assert read(home).agent.link.tries == 2
    environ = {"FEDENVOY_LINK_TRIES": "3", "FEDENVOY_HTTP_LISTEN": "9464"}
    config = read(home, environ)
    assert (config.agent.link.tries, config.agent.link.call_timeout) == (3, 20.0)
    assert config.agent.http.listen == ("127.0.0.1", 9464)
    assert read(home, environ, "link.tries=4").agent.link.tries == 4
    assert read(home, environ, "agent.link.tries=4", "link.tries=5").agent.link.tries == 5


def test_values_are_read_as_a_file_would_have_them(home: Path) -> None:
    config = read(home, {"FEDENVOY_KILL_GRACE": "1m", "FEDENVOY_CHILD_ENV": "[A, B=x=1]"}, "gpu.hide=true")
    assert (config.agent.kill_grace, config.agent.child.env, config.agent.gpu.hide) == (60.0, ("A", "B=x=1"), True)


def test_an_empty_variable_and_those_that_are_no_settings_set_nothing(home: Path) -> None:
    warned: list[str] = []
    environ = {"FEDENVOY_LINK_TRIES": "", "FEDENVOY_RUN": "x", "FEDENVOY_SOMETHING_ELSE": "1"}
    assert read(home, environ, warned=warned).agent.link.tries == 2
    assert not warned
    read(home, {"FEDENVOY_LINK_TRYS": "1"}, warned=warned)
    assert "did you mean FEDENVOY_LINK_TRIES?" in warned[0]


def test_every_wrong_one_is_told_at_once_and_where_it_was_given(home: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(home, {"FEDENVOY_LINK_TRIES": "0"}, "link.trys=1", "poll", "link.tries.more=1", "poll.timeout=x")
    told = "\n".join(caught.value.problems)
    assert "environment variable FEDENVOY_LINK_TRIES: agent.link.tries: 0: expected a whole number, 1 or more" in told
    assert "--set link.trys: agent.link.trys" in told
    assert "did you mean tries?" in told
    assert "--set poll: expected NAME=VALUE" in told
    assert "agent.link.tries.more: no such setting; tries is no section" in told
    assert "--set poll.timeout: agent.poll.timeout" in told


def test_the_command_shows_what_counts_and_where_it_was_given(home: Path) -> None:
    result = run("--set", "kill_grace=1m", "--json", FEDENVOY_LINK_TRIES="3")
    told = json.loads(result.stdout)
    assert told["agent.kill_grace"] == {"value": 60.0, "origin": "--set kill_grace"}
    assert told["agent.link.tries"] == {"value": 3, "origin": "environment variable FEDENVOY_LINK_TRIES"}
    assert told["agent.link.call_timeout"] == {"value": 20.0, "origin": "envoy_config.yaml"}
    assert told["agent.poll.tries"]["origin"] == "default"
    assert set(told) == set(setting_names())


def test_only_what_was_changed(home: Path) -> None:
    result = run("--changed", "--print")
    names = {line.split()[0] for line in result.stdout.splitlines()}
    assert names == {"agent.review.mode", "agent.link.tries", "agent.link.call_timeout"}
    assert "(envoy_config.yaml)" in result.stdout


def test_a_wrong_setting_ends_with_the_configuration_s_code(home: Path) -> None:
    assert run("--set", "link.tries=none").exit_code == Exit.CONFIGURATION


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("agent.child.env", ("A", "KEY=secret"), ["A", "KEY=***"]),
        ("agent.review.webhook", "https://u:p@chat.example/services/T0/secret", "https://chat.example/***"),
        ("agent.requirements.indexes", ("https://u:secret@pypi.example/simple",), ["https://***@pypi.example/simple"]),
        ("agent.state_dir", Path("/var/lib/x"), "/var/lib/x"),
        ("agent.review.webhook", "", ""),
    ],
)
def test_secrets_are_not_shown(name: str, value: object, told: object) -> None:
    assert shown(name, value) == told
