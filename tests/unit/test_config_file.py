"""OpenFL's file, read as OpenFL reads it; what is refused, what makes a warning."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import trustme
from fedenvoy.config import DirectorAddress, NodeConfig, PluginSource, ShardSource
from fedenvoy.configfile import load
from fedenvoy.errors import ConfigurationError
from hypothesis import given
from hypothesis import strategies as st

DIRECTOR = DirectorAddress("director", 50051)
SHARD_BLOCK = "shard_descriptor:\n  template: shard.Shard\n"
SHARD = "shard_descriptor: {template: shard.Shard}\n"


class Loader:
    """Writes a file into a directory and loads it, as the command line would there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.warnings: list[str] = []

    def __call__(self, text: str | bytes, **changes: Any) -> NodeConfig:
        path = self.home / "envoy_config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return self.load("envoy_config.yaml", **changes)

    def load(self, path: str, **changes: Any) -> NodeConfig:
        arguments: dict[str, Any] = {
            "shard_name": "site_1",
            "director": DIRECTOR,
            "tls": False,
            "root_certificate": None,
            "private_key": None,
            "certificate": None,
            "home": self.home,
            "warn": self.warnings.append,
        }
        return load(Path(path), **arguments | changes)

    def problems(self, text: str | bytes, **changes: Any) -> tuple[str, ...]:
        with pytest.raises(ConfigurationError) as caught:
            self(text, **changes)
        return caught.value.problems

    def told(self) -> list[str]:
        """Give the warnings, without the one about experiments that are not reviewed."""
        return [warning for warning in self.warnings if "without review" not in warning]


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    for name in list(os.environ):
        if "DYNACONF" in name:
            monkeypatch.delenv(name)
    return Loader(tmp_path)


def test_a_file_as_openfl_ships_it(loader: Loader) -> None:
    config = loader("""
        params:
          install_requirements: true
          cuda_devices: [0, 2]
          review_experiment: False

        optional_plugin_components:
          cuda_device_monitor:
            template: openfl.plugins.processing_units_monitor.pynvml_monitor.PynvmlCUDADeviceMonitor
            settings: []

        shard_descriptor:
          template: kvasir_shard_descriptor.KvasirShardDescriptor
          params:
            data_folder: kvasir_data
            rank_worldsize: 1,10
            enforce_image_hw: '300,400'
        """)
    assert config.shard_name == "site_1"
    assert config.director == DIRECTOR
    assert config.shard == ShardSource(
        "kvasir_shard_descriptor.KvasirShardDescriptor",
        {"data_folder": "kvasir_data", "rank_worldsize": "1,10", "enforce_image_hw": "300,400"},
    )
    assert config.cuda_devices == (0, 2)
    assert config.install_requirements is True
    assert config.cuda_device_monitor is None  # our own stands in for OpenFL's
    assert config.tls is None
    assert config.agent.home == loader.home
    assert config.agent.review.mode == "accept"
    assert loader.told() == []


@pytest.mark.parametrize("empty", ["", "{}", "[]", "null"])
def test_empty_sections_are_empty(loader: Loader, empty: str) -> None:
    config = loader(
        f"params: {empty}\noptional_plugin_components: {empty}\nagent: {empty}\nroot_certificate:\n"
        f"shard_descriptor:\n  template: shard.Shard\n  params: {empty}\n"
    )
    assert config.shard == ShardSource("shard.Shard")
    assert (config.cuda_devices, config.install_requirements) == ((), True)
    assert loader.told() == []


def test_own_monitor(loader: Loader) -> None:
    config = loader(
        SHARD
        + "optional_plugin_components: {cuda_device_monitor: {template: mine.Monitor, params: {a: 1}, settings: [x]}}\n"
    )
    assert config.cuda_device_monitor == PluginSource("mine.Monitor", {"a": 1})
    assert "cuda_device_monitor.settings is ignored" in loader.told()[0]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("010", 10),
        ("089", 89),
        ("0o17", 15),
        ("-0x10", -16),
        ("0b11", 3),
        ("1_000", 1000),
        ("+12", 12),
        ("12:30", "12:30"),
        ("1e3", 1000.0),
        ("1E5", 100000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1_0.5", 10.5),
        ("-.inf", float("-inf")),
        ("1.2.3.4", "1.2.3.4"),
        ("1, 2", "1, 2"),
        ("'1'", "1"),
        ("-", "-"),
        ("=", "="),
        ("2020-01-01", dt.date(2020, 1, 1)),
        ("[1, '2']", [1, "2"]),
    ],
)
def test_values_are_those_of_openfls_reader(loader: Loader, written: str, value: object) -> None:
    """YAML 1.2, as measured with OpenFL 1.6; PyYAML alone reads eight of these differently."""
    if written == "-":
        written = "'-'"
    config = loader(f"shard_descriptor:\n  template: shard.Shard\n  params:\n    x: {written}\n    Y: 1\n")
    assert isinstance(config.shard, ShardSource)
    assert config.shard.params == {"x": value, "Y": 1}
    assert type(config.shard.params["x"]) is type(value)


def test_merge_keys_and_anchors(loader: Loader) -> None:
    config = loader("""
        base: &base {a: 1, b: 2}
        shard_descriptor:
          template: shard.Shard
          params: {<<: *base, b: 3}
        """)
    assert config.shard == ShardSource("shard.Shard", {"a": 1, "b": 3})
    assert loader.told() == ["envoy_config.yaml: base is ignored: no such setting"]


def test_keys_count_in_any_case_as_for_openfl(loader: Loader) -> None:
    config = loader("Shard_Descriptor: {Template: shard.Shard, params: {A: 1}}\nPARAMS: {CUDA_devices: ['1', GPU-a]}\n")
    assert config.shard == ShardSource("shard.Shard", {"A": 1})
    assert config.cuda_devices == (1, "GPU-a")
    assert loader.told() == []


def test_unknown_keys_outside_agent_warn_with_the_nearest_name(loader: Loader) -> None:
    loader(
        SHARD + "parms: {}\nparams: {cuda_device: [1], x: 1}\noptional_plugin_components: {other: {template: a.B}}\n"
    )
    assert loader.told() == [
        "envoy_config.yaml: parms is ignored: no such setting; did you mean params?",
        "envoy_config.yaml: params.cuda_device is ignored: no such setting; did you mean cuda_devices?",
        "envoy_config.yaml: params.x is ignored: no such setting",
        "envoy_config.yaml: optional_plugin_components.other is ignored: no such setting",
    ]


@pytest.mark.parametrize(
    ("params", "agent", "mode", "warns"),
    [
        ("", "", "accept", True),
        ("review_experiment: false", "", "accept", True),
        ("review_experiment: true", "", "prompt", False),
        ("review_experiment: yes", "", "prompt", False),
        ("review_experiment: 1", "", "prompt", False),
        ("review_experiment: true", "mode: accept", "accept", False),
        ("", "mode: accept", "accept", False),
        ("", "mode: prompt", "prompt", False),
        ("review_experiment: true", "timeout: 5m", "prompt", False),
        ("", "timeout: 5m", "accept", True),
    ],
)
def test_review_mode(loader: Loader, params: str, agent: str, mode: str, warns: bool) -> None:
    config = loader(f"{SHARD}params: {{{params}}}\nagent: {{review: {{{agent}}}}}\n")
    assert config.agent.review.mode == mode
    assert any("accepted without review" in warning for warning in loader.warnings) == warns
    assert config.agent.review.timeout == (300 if "timeout" in agent else 86400)


def test_no_as_text_is_taken_as_it_is_meant(loader: Loader) -> None:
    """OpenFL reads the text `no` as true and installs; the site surely meant the opposite."""
    assert loader(SHARD + "params: {install_requirements: no}\n").install_requirements is False
    assert "no is taken as false; OpenFL takes it as text, and so as true" in loader.told()[0]


@pytest.mark.parametrize(
    ("present", "configured", "expected"),
    [
        ((), None, None),
        (("requirements.txt",), None, "requirements.txt"),
        (("sd_requirements.txt",), None, "sd_requirements.txt"),
        (("requirements.txt", "sd_requirements.txt"), None, "requirements.txt"),
        (("requirements.txt", "own.txt"), "own.txt", "own.txt"),
    ],
)
def test_site_requirements(
    loader: Loader, present: tuple[str, ...], configured: str | None, expected: str | None
) -> None:
    for name in present:
        (loader.home / name).write_text("numpy\n")
    section = f"agent: {{requirements: {{site: {configured}}}}}\n" if configured else ""
    site = loader(SHARD + section).agent.requirements.site
    assert site == (loader.home / expected if expected else None)


def test_site_requirements_are_looked_for_beside_the_file(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text(SHARD)
    (tmp_path / "conf" / "sd_requirements.txt").write_text("")
    (tmp_path / "requirements.txt").write_text("")
    assert loader.load("conf/mine.yaml").agent.requirements.site == tmp_path / "conf" / "sd_requirements.txt"


def test_certificates_in_the_file_and_on_the_command_line(loader: Loader, tmp_path: Path) -> None:
    authority = trustme.CA()
    node = authority.issue_cert("site.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    node.private_key_pem.write_to_path(tmp_path / "key.pem")
    node.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    text = SHARD + "root_certificate: wrong.pem\nprivate_key: key.pem\ncertificate: cert.pem\n"
    config = loader(text, tls=True, root_certificate=Path("ca.pem"))
    assert config.tls is not None
    assert config.tls.root_certificate == tmp_path / "ca.pem"
    assert config.tls.private_key == tmp_path / "key.pem"
    assert loader(text, tls=None, root_certificate=tmp_path / "ca.pem").tls == config.tls
    assert loader(SHARD, tls=None).tls is None
    assert loader(text, tls=False).tls is None
    assert "TLS is off" in loader.told()[-1]


def test_all_problems_at_once(loader: Loader) -> None:
    problems = loader.problems(
        """
        params: {install_requirements: maybe, cuda_devices: 0}
        optional_plugin_components: {cuda_device_monitor: {template: Monitor}}
        shard_descriptor: {params: [1]}
        certificate: 5
        agent: {on_stop: x, link: {tries: 0}}
        """,
        tls=True,
        root_certificate=Path("nothing.pem"),
        shard_name=" ",
    )
    named = "\n".join(problems)
    for part in (
        "shard_name: ' ': expected the name",
        "params.install_requirements: 'maybe': expected true or false",
        "params.cuda_devices: 0: expected a list",
        "cuda_device_monitor.template: 'Monitor': expected a module and a class",
        "shard_descriptor.template: missing: expected a module and a class",
        "shard_descriptor.params: [1]: expected a section",
        "certificate: 5: expected the path of a PEM file",
        "agent.on_stop: 'x'",
        "agent.link.tries: 0",
        "root_certificate: ",
        "private_key: missing",
        "certificate: missing",
    ):
        assert part in named
    assert len(problems) == 12


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "shard_descriptor.template: missing: expected a module and a class, such as shard_descriptor.MyShard"),
        ("shard_descriptor: {template: Shard}", "shard_descriptor.template: 'Shard': expected a module and a class"),
        ("shard_descriptor: {template: .Shard}", "shard_descriptor.template: '.Shard': expected"),
        ("shard_descriptor: {template: 'a b.C'}", "shard_descriptor.template: 'a b.C': expected"),
        ("shard_descriptor: {template: 5}", "shard_descriptor.template: 5: expected"),
        ("shard_descriptor: text", "shard_descriptor: 'text': expected a section"),
        ("shard_descriptor: {template: a.B, params: {1: 2}}", "shard_descriptor.params: 1: expected names"),
        (SHARD + "params: 5", "params: 5: expected a section"),
        (SHARD + "params: {cuda_devices: '0,1'}", "params.cuda_devices: '0,1': expected a list of GPU numbers"),
        (SHARD + "params: {cuda_devices: [-1]}", "params.cuda_devices[0]: -1: expected a list of GPU numbers"),
        (SHARD + "params: {cuda_devices: [true]}", "params.cuda_devices[0]: true: expected"),
        (SHARD + "params: {cuda_devices: [0, '0']}", "params.cuda_devices[1]: '0': expected each GPU once"),
        (SHARD + "Shard_descriptor: {}", "expected once, but shard_descriptor stands twice"),
        (SHARD + "agent: 5", "agent: 5: expected a section"),
        ("- a", "expected sections such as `shard_descriptor:`, but the file holds a list"),
        ("text", "but the file holds a single value"),
        ("a: [1", "line 1, column 6: not valid YAML: while parsing a flow sequence expected ',' or ']'"),
        ("a:\n\t- b", "line 2, column 1: not valid YAML: while scanning for the next token found character '\\t'"),
        ("a: 1\na: 2", "line 2, column 1: not valid YAML: the key 'a' stands twice"),
        ("a: b: c", "line 1, column 5: not valid YAML: mapping values are not allowed here"),
        ("a: !!python/object:os.system {}", "line 1, column 4: not valid YAML: could not determine a constructor"),
        ("a: 2020-99-99", "not valid YAML: a value cannot be read"),
        ("a: 1\n---\nb: 2", "not valid YAML: expected a single document"),
        ("a: *b", "line 1, column 4: not valid YAML: found undefined alias"),
        ("[" * 600, "sections are nested too deeply"),
        (b"a: \xff", "expected UTF-8 text, but byte 4 is not"),
        (b"a: \x00", "character 4: not valid YAML"),
        (b" " * (2**20 + 1), "larger than 1 MiB"),
    ],
)
def test_refused(loader: Loader, text: str | bytes, sentence: str) -> None:
    problems = loader.problems(text)
    assert len(problems) == 1, problems
    assert f"envoy_config.yaml: {sentence}" in problems[0] or sentence in problems[0]
    assert problems[0].startswith("envoy_config.yaml: ")
    assert "\n" not in problems[0]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing.yaml", "missing.yaml: no such file; write one with `fedenvoy init`, or name it with -ec"),
        (".", "expected a file, but this is a directory"),
        ("/dev/null", "expected a regular file"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_files_that_cannot_be_read(loader: Loader, path: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loader.load(path)
    assert sentence in caught.value.problems[0]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("length", [60, 2000])
def test_a_file_of_endless_aliases_does_not_hold_the_agent_up(loader: Loader, length: int) -> None:
    """Each line doubles the one before; and the last one holds itself."""
    chain = "".join(f"    a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, length))
    text = f"{SHARD_BLOCK}  params:\n    a0: &a0 ['@int 3']\n{chain}    s: &s [*s, *a{length - 1}]\n"
    loader(text)
    assert len(loader.told()) == 1
    assert "shard_descriptor.params.a0[0]: '@int 3'" in loader.told()[0]
    problems = loader.problems(f"{text}agent: {{on_stop: *s, x: *s}}\nparams: *s\n")
    assert [len(problem) < 400 for problem in problems] == [True] * 3
    problems = loader.problems(f"x: {text.partition('params:')[2]}\n{SHARD_BLOCK.replace('shard.Shard', '*s')}")
    assert [len(problem) < 400 for problem in problems] == [True]


def test_long_names_are_cut(loader: Loader) -> None:
    name = "x" * 100_000
    problems = loader.problems(f"{SHARD}{name}: 1\nagent: {{? {name} : 1}}\n")
    assert all(len(sentence) < 400 for sentence in (*problems, *loader.told()))


def test_what_only_dynaconf_honours_makes_warnings(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNACONF_PARAMS__REVIEW_EXPERIMENT", "true")
    monkeypatch.setenv("SETTINGS_FILE_FOR_DYNACONF", "x")
    (loader.home / "envoy_config.local.yaml").write_text("params: {cuda_devices: [7]}")
    config = loader("""
        shard_descriptor:
          template: shard.Shard
          params: {a: '@format {env[HOME]}/x', b: ['@int 3'], c: '@home', d: 'me@int'}
        """)
    assert config.agent.review.mode == "accept"
    assert config.cuda_devices == ()
    assert isinstance(config.shard, ShardSource)
    assert config.shard.params["b"] == ["@int 3"]
    told = loader.told()
    assert len(told) == 4
    assert "DYNACONF_PARAMS__REVIEW_EXPERIMENT, SETTINGS_FILE_FOR_DYNACONF, which OpenFL honours" in told[0]
    assert "envoy_config.local.yaml beside it" in told[1]
    assert "shard_descriptor.params.a: '@format {env[HOME]}/x' is taken as it stands" in told[2]
    assert "shard_descriptor.params.b[0]: '@int 3'" in told[3]


def test_a_file_without_agent_section_needs_no_cattrs(tmp_path: Path) -> None:
    """Its import costs every node time and memory; only those that use the section pay."""
    (tmp_path / "c.yaml").write_text(SHARD)
    code = (
        "import sys, pathlib, fedenvoy.configfile as c, fedenvoy.config as k\n"
        "c.load(pathlib.Path('c.yaml'), shard_name='n', director=k.DirectorAddress('d', 1), tls=False,\n"
        "       root_certificate=None, private_key=None, certificate=None, home=pathlib.Path.cwd())\n"
        "print([m for m in ('cattrs', 'grpc', 'transitions') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


PIECES = st.sampled_from(
    [
        *("params", "agent", "shard_descriptor", "template", "a.B", ":", " ", "\n", "  ", "-", "[", "]", "{", "}", ","),
        *("'", '"', "&a", "*a", "<<", "!!int", "|", ">", "#", "@int", "0x", "1e", "2020-01-01", "\t", "%", "?", "~"),
        *("é", "\0", "...", "\r"),
    ]
)


@given(text=st.lists(PIECES, max_size=25).map("".join))
def test_any_text_is_read_or_refused_in_sentences(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    problems: tuple[str, ...] = ("read",)
    try:
        Loader(tmp_path_factory.getbasetemp())(text)
    except ConfigurationError as error:
        problems = error.problems
    assert problems
    assert all("\n" not in problem for problem in problems)
