"""The command line: what it passes on, and how it ends when something is wrong."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fedenvoy import __version__
from fedenvoy.cli import cli
from fedenvoy.cli_exit import keep_code
from fedenvoy.cli_types import parse_host
from fedenvoy.config import NodeConfig, ShardSource
from fedenvoy.errors import Exit, LinkRejectedError, StoreError

SHARD = "shard_descriptor: {template: shard.Shard}\n"
START = ("start", "-n", "site_1", "-dh", "director", "-dp", "50051", "--disable-tls")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into a directory with a configuration that is good."""
    (tmp_path / "envoy_config.yaml").write_text(SHARD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def quiet_logging() -> Any:
    """Take off again what `start` configures."""
    root = logging.getLogger()
    handlers, level, own = list(root.handlers), root.level, logging.getLogger("fedenvoy").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("fedenvoy").setLevel(own)


class Node:
    """Stands where the node would run: notes what it was started with, and ends as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ending: Exit | BaseException = Exit.OK
        self.config: NodeConfig | None = None
        self.arguments: dict[str, Any] = {}
        monkeypatch.setitem(sys.modules, "fedenvoy.app", types.SimpleNamespace(run_node=self.run))

    def run(self, config: NodeConfig, **arguments: Any) -> Exit:
        self.config, self.arguments = config, arguments
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending


@pytest.fixture
def node(home: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="fedenvoy")


def test_version_and_help() -> None:
    assert invoke("-V").output == f"fedenvoy {__version__}\n"
    assert invoke("--version").exit_code == 0
    control = ("status", "cancel", "pause", "resume", "forget", "stop")
    for command in ("start", *control, "check", "init", "demo", "diagram"):
        result = invoke(command, "--help")
        assert result.exit_code == 0
        assert "Example" in result.output
        assert f"fedenvoy {command}" in result.output
        assert command in invoke("-h").output


def test_start_passes_everything_on(node: Node, home: Path) -> None:
    result = invoke(*START, "--state-dir", "state", "-ec", "envoy_config.yaml")
    assert result.exit_code == 0, result.output
    assert node.config is not None
    assert node.config.shard_name == "site_1"
    assert node.config.director.target == "director:50051"
    assert node.config.tls is None
    assert node.config.agent.home == home
    assert node.config.agent.state_dir == home / "state"
    assert node.arguments == {"review": None, "handle_signals": True, "ended": keep_code}
    assert "accepted without review" in result.output


@pytest.mark.parametrize("code", list(Exit))
def test_start_ends_with_the_nodes_exit_code(node: Node, code: Exit) -> None:
    node.ending = code
    assert invoke(*START).exit_code == code


def test_start_scripts_written_for_fx_run(node: Node, home: Path) -> None:
    """Option spellings seen in OpenFL's tutorials, the attached one (`-dhHOST`) included."""
    (home / "other.yaml").write_text(SHARD)
    for words in (
        "start -n env_one --disable-tls --envoy-config-path other.yaml -dh localhost -dp 50050",
        "start -n env_one --disable-tls -dh localhost -dp 50051 -ec other.yaml",
        "start -nenv_one --disable-tls -ecother.yaml -dhlocalhost -dp50051",
        "start --shard-name=env_one --disable-tls -ec=other.yaml --director-host localhost --director-port 50051",
    ):
        assert invoke(*words.split()).exit_code == 0, words
        assert node.config is not None
        assert (node.config.shard_name, node.config.director.host) == ("env_one", "localhost")


def test_json_lines(node: Node) -> None:
    result = invoke(*START, "--log-format", "json")
    assert "without review" in json.loads(result.output.splitlines()[0])["message"]


HOSTS = ["director_1", "d", "host.", "127.0.0.1", "::1", "[::1]", "fe80::1%eth0", "a.b-c.example", "dns:///director"]


@pytest.mark.parametrize("host", HOSTS)
def test_B60_hosts_that_grpc_takes(node: Node, host: str) -> None:
    result = invoke("start", "-n", "a", "-dh", host, "-dp", "1", "--disable-tls")
    assert result.exit_code == 0, result.output
    assert node.config is not None
    assert node.config.director.host == host
    assert node.config.director.target == (f"[{host}]:1" if ":" in host and host[0] not in "[d" else f"{host}:1")


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("", "expected a name or an address"),
        ("a b", "without blanks"),
        ("a\x1b", "without blanks"),
        ("director:50051", "the port has an option of its own (-dp)"),
        ("[::1]:50051", "the port has an option of its own (-dp)"),
        ("[director]", "the port has an option of its own (-dp)"),
        ("http://director", "without a scheme"),
        ("unix:///run/director.sock", "a unix socket has no port"),
    ],
)
def test_B60_hosts_that_are_mistakes(host: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_host(host)
    assert sentence in str(caught.value)


BAD = [
    (("start",), Exit.USAGE, "Missing option"),
    (("start", "-n", "a", "-dh", "d", "--disable-tls"), Exit.USAGE, "Missing option '-dp' / '--director-port'"),
    (("start", "-n", "a", "-dh", "d", "-dp", "0"), Exit.USAGE, "0 is not in the range 1<=x<=65535"),
    (("start", "-n", "a", "-dh", "d", "-dp", "http"), Exit.USAGE, "'http' is not a valid integer"),
    (("start", "-n", "a", "-dh", "d:1", "-dp", "1"), Exit.USAGE, "the port has an option of its own"),
    ((*START, "--log-format", "xml"), Exit.USAGE, "'xml' is not one of 'console', 'json'"),
    ((*START, "--no-such"), Exit.USAGE, "No such option"),
    (("begin",), Exit.USAGE, "No such command 'begin'"),
    ((*START, "-ec", "gone.yaml"), Exit.CONFIGURATION, "gone.yaml: no such file; write one with `fedenvoy init`"),
    ((*START, "-ec", "bad.yaml"), Exit.CONFIGURATION, "bad.yaml: line 1, column 5: not valid YAML"),
    ((*START, "-ec", "empty.yaml"), Exit.CONFIGURATION, "shard_descriptor.template: missing: expected a module"),
    ((*START, "-ec", "nodot.yaml"), Exit.CONFIGURATION, "shard_descriptor.template: 'Shard': expected a module and"),
    ((*START, "-ec", "agent.yaml"), Exit.CONFIGURATION, "agent.on_stp: 'x': no such setting; did you mean on_stop?"),
    (
        (*START, "-ec", "agent.yaml"),
        Exit.CONFIGURATION,
        "error: agent.yaml: agent.link.tries: 'many': expected a whole",
    ),
    ((*START, "-n", " "), Exit.CONFIGURATION, "shard_name: ' ': expected the name"),
    (START[:-1], Exit.CONFIGURATION, "error: root_certificate: missing: TLS needs"),
    (START[:-1], Exit.CONFIGURATION, "error: private_key: missing: TLS needs"),
    ((*START[:-1], "-rc", "gone.crt"), Exit.CONFIGURATION, "/gone.crt: no such file"),
    ((*START, "-ec", "ask.yaml"), Exit.CONFIGURATION, "review needs a terminal or another review mode"),
    (("check", "-ec", "agent.yaml"), Exit.CONFIGURATION, "agent.link.tries: 'many': expected a whole number"),
    (("check", "--tls"), Exit.CONFIGURATION, "certificate: missing"),
    (("init", "-p", "."), Exit.CONFIGURATION, "envoy_config.yaml is there already"),
    (("init", "-p", "empty.yaml/x"), Exit.CONFIGURATION, "cannot be written: Not a directory"),
    (("demo", "--director", "x"), Exit.USAGE, "'x' is not one of 'sandbox', 'openfl'"),
    (("demo", "--timeout", "0"), Exit.USAGE, "0"),
]


@pytest.fixture
def bad_files(home: Path) -> None:
    (home / "bad.yaml").write_text("a: b: c\n")
    (home / "empty.yaml").write_text("")
    (home / "nodot.yaml").write_text("shard_descriptor: {template: Shard}\n")
    (home / "agent.yaml").write_text(SHARD + "agent: {on_stp: x, link: {tries: many}}\n")
    (home / "ask.yaml").write_text(SHARD + "params: {review_experiment: true}\n")


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize(("arguments", "code", "sentence"), BAD)
def test_bad_input(arguments: tuple[str, ...], code: Exit, sentence: str) -> None:
    result = invoke(*arguments)
    assert sentence in result.output
    assert result.exit_code == code
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize(("arguments", "code", "sentence"), [BAD[0], BAD[8], BAD[12], BAD[15], BAD[18]])
def test_bad_input_in_a_process_of_its_own(arguments: tuple[str, ...], code: Exit, sentence: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "fedenvoy", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert sentence in done.stderr
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("home")
def test_a_state_directory_that_cannot_be_written() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"}
    done = subprocess.run(
        [sys.executable, "-m", "fedenvoy", *START, "--state-dir", "envoy_config.yaml/state"],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == Exit.STORE
    assert "envoy_config.yaml/state" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (LinkRejectedError("the director wants TLS"), Exit.LINK, "fedenvoy: error: the director wants TLS\n"),
        (StoreError("/state: read-only"), Exit.STORE, "fedenvoy: error: /state: read-only\n"),
        (KeyboardInterrupt(), Exit.ABORTED, "fedenvoy: error: interrupted\n"),
        (RuntimeError("two\nlines"), Exit.FAILED, "fedenvoy: error: unexpected RuntimeError: two lines; run with"),
    ],
)
def test_errors_end_in_one_sentence(node: Node, error: BaseException, code: Exit, sentence: str) -> None:
    node.ending = error
    result = invoke(*START)
    assert sentence in result.output
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_a_traceback_for_those_who_ask(node: Node) -> None:
    node.ending = RuntimeError("odd")
    result = invoke(*START, "--log-level", "DEBUG")
    assert result.exit_code == Exit.FAILED
    assert "Traceback (most recent call last)" in result.output
    assert "unexpected RuntimeError: odd; please report it with the traceback above" in result.output


def test_B42_review_without_a_terminal_refuses_before_anything_starts(node: Node, home: Path) -> None:
    (home / "envoy_config.yaml").write_text(SHARD + "params: {review_experiment: true}\n")
    assert invoke(*START).exit_code == Exit.CONFIGURATION
    assert node.config is None


def test_B42_review_with_a_terminal_starts(home: Path) -> None:
    """In a process whose standard input is a pty; the node's part is played by a module that prints what it got."""
    (home / "envoy_config.yaml").write_text(SHARD + "agent: {review: {mode: prompt}}\n")
    code = (
        "import sys, types\n"
        "def run_node(config, *, review, handle_signals, ended): print(type(review).__name__); return 0\n"
        "sys.modules['fedenvoy.app'] = types.SimpleNamespace(run_node=run_node)\n"
        "from fedenvoy.cli import main; main()"
    )
    keyboard, inner = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *START],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=inner,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(keyboard)
        os.close(inner)
    assert (done.returncode, done.stdout) == (0, "TerminalReview\n"), done.stderr


def test_a_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = invoke(*START)
    assert result.exit_code == Exit.CONFIGURATION
    assert "the current directory does not exist any more" in result.output


def test_check_tells_what_is_good(home: Path) -> None:
    (home / "envoy_config.yaml").write_text(SHARD + "params: {cuda_devices: [0, 1], typo: 1}\n")
    result = invoke("check")
    assert result.exit_code == 0, result.output
    assert "envoy_config.yaml: no problems" in result.output
    assert "shard.Shard" in result.output
    assert "0, 1" in result.output
    assert "fedenvoy: warning: envoy_config.yaml: params.typo is ignored" in result.output
    assert invoke("check", *START[1:]).exit_code == 0  # the arguments of `start` do


def test_check_tells_who_reviews_and_what_is_wrong_with_a_policy(home: Path) -> None:
    def said(review: str) -> str:
        (home / "envoy_config.yaml").write_text(SHARD + f"agent: {{review: {{{review}}}}}\n")
        return invoke("check").output

    assert "held until 2 people approved" in said("mode: hold, required_approvals: 2")
    assert "agent.review.policy: missing: expected the file of rules" in said("mode: policy")
    (home / "policy.yaml").write_text("rules: []\n")
    assert "fedenvoy: error: " in said("mode: policy, policy: policy.yaml")
    (home / "policy.yaml").write_text("rules: [{name: a, decision: reject}]\ndefault: hold\n")
    assert "decided by 1 rules in " in said("mode: policy, policy: policy.yaml")


def test_init_writes_a_directory_that_can_be_started(node: Node, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke("init", "-p", "sites/one").exit_code == 0
    assert sorted(path.name for path in (home / "sites/one").iterdir()) == [
        "cert",
        "data",
        "envoy_config.yaml",
        "logs",
        "requirements.txt",
        "shard_descriptor.py",
    ]
    monkeypatch.chdir(home / "sites/one")
    assert invoke(*START).exit_code == 0
    assert node.config is not None
    assert node.config.agent.requirements.site == home / "sites/one/requirements.txt"
    source: dict[str, Any] = {}
    exec(Path("shard_descriptor.py").read_text(), source)
    assert isinstance(node.config.shard, ShardSource)
    shard = source["ExampleShard"](**node.config.shard.params)
    assert (shard.sample_shape, shard.target_shape) == (["1"], ["1"])
    assert [len(shard.get_dataset(kind)) for kind in ("train", "val")] == [80, 20]
    assert shard.get_dataset("val")[0][0] == [0.8]


def test_init_replaces_nothing_unasked(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "mine.csv").write_text("1")
    assert invoke("init", "-p", ".").exit_code == Exit.CONFIGURATION
    assert (home / "envoy_config.yaml").read_text() == SHARD
    assert invoke("init", "-p", ".", "--force").exit_code == 0
    assert (home / "envoy_config.yaml").read_text() != SHARD
    assert (home / "data" / "mine.csv").read_text() == "1"


def test_demo_passes_everything_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []

    def run(*arguments: Any) -> int:
        calls.append(arguments)
        return 1

    monkeypatch.setitem(sys.modules, "fedenvoy.demo", types.SimpleNamespace(run=run))
    assert invoke("demo", "--director", "openfl", "--keep", str(tmp_path), "--timeout", "5").exit_code == 1
    assert calls == [("openfl", tmp_path, 5.0)]


def test_diagram(home: Path) -> None:
    from fedenvoy_statecharts import LIFECYCLE
    from fedenvoy_statecharts.render import FORMATS, render

    assert "|".join(FORMATS) in invoke("diagram", "-h").output.replace("\n", "").replace(" ", "")
    for name in set(FORMATS) - {"svg"}:  # whether the shipped picture is the table's is asked elsewhere
        assert invoke("diagram", "--format", name).output.rstrip("\n") == render(LIFECYCLE, name).rstrip("\n")
    assert invoke("diagram").output == invoke("diagram", "--format", "Mermaid").output
    assert invoke("diagram", "--out", "chart.mmd").output == ""
    assert (home / "chart.mmd").read_text() == render(LIFECYCLE, "mermaid")
    wrong = invoke("diagram", "--format", "bitmap")
    assert wrong.exit_code == Exit.USAGE
    assert all(name in wrong.output for name in FORMATS)
    unwritable = invoke("diagram", "--out", "gone/chart.mmd")
    assert unwritable.exit_code == Exit.CONFIGURATION
    assert "cannot be written: No such file or directory" in unwritable.output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "try:\n"
        "    from fedenvoy.cli import cli; cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = 'grpc google attr attrs cattrs yaml transitions rich platformdirs sqlite3 ssl asyncio'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
