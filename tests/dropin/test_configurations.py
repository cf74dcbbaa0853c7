"""The configurations of OpenFL's users: read as OpenFL reads them, and started with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dropin.configurations import NVML, SHAPES
from dropin.programs import Place, start_command
from fedenvoy.config import DirectorAddress, NodeConfig, PluginSource, ShardSource
from fedenvoy.configfile import load
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector, ThrowawayAuthority


def read(home: Path, text: str, warnings: list[str], **changes: Any) -> NodeConfig:
    """Read a file as the command line would in its directory."""
    (home / "envoy_config.yaml").write_text(text, encoding="utf-8")
    arguments: dict[str, Any] = {"tls": False, "root_certificate": None, "private_key": None, "certificate": None}
    return load(
        Path("envoy_config.yaml"),
        shard_name="env_one",
        director=DirectorAddress("localhost", 50051),
        home=home,
        warn=warnings.append,
        **arguments | changes,
    )


@pytest.fixture(autouse=True)
def no_dynaconf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DYNACONF_PARAMS", raising=False)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_read(tmp_path: Path, name: str) -> None:
    shape, warnings = SHAPES[name], list[str]()
    config = read(tmp_path, shape.text, warnings)
    assert config.shard == ShardSource(shape.template, shape.params)
    assert config.cuda_devices == shape.devices
    assert config.install_requirements is shape.install
    assert config.agent.review.mode == ("prompt" if shape.review else "accept")
    assert config.cuda_device_monitor is None, "our own monitor stands for OpenFL's"
    assert [warning for warning in warnings if "without review" not in warning] == []


READ_BY_OPENFL = """
import json, sys
from pathlib import Path
from dynaconf import Validator
from openfl.utilities import merge_configs

found = []
for text in json.load(sys.stdin):
    Path("envoy_config.yaml").write_text(text, encoding="utf-8")
    config = merge_configs(
        settings_files="envoy_config.yaml",
        overwrite_dict={"root_certificate": None, "private_key": None, "certificate": None},
        validators=[
            Validator("shard_descriptor.template", required=True),
            Validator("params.cuda_devices", default=[]),
            Validator("params.install_requirements", default=True),
            Validator("params.review_experiment", default=False),
        ],
    )
    shard, params = config.shard_descriptor, config.params
    found.append([
        shard.template,
        dict(shard.get("params", {})),
        list(params.cuda_devices),
        params.review_experiment,
        params.install_requirements,
    ])
print(json.dumps(found))
"""


@pytest.mark.interop
@pytest.mark.timeout(240)
def test_openfl_itself_reads_the_same(tmp_path: Path, openfl_python: Path) -> None:
    done = subprocess.run(
        [openfl_python, "-c", READ_BY_OPENFL],
        input=json.dumps([shape.text for shape in SHAPES.values()]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for shape, found in zip(SHAPES.values(), json.loads(done.stdout.splitlines()[-1]), strict=True):
        expected = [shape.template, dict(shape.params), list(shape.devices), shape.review, shape.install]
        assert found == expected, shape.text


def test_the_default_workspace_s_configuration_starts_a_node(place: Place) -> None:
    """With the descriptor's name put into the template's place: OpenFL's own is an empty class."""
    text = SHAPES["default workspace"].text.replace("shard_descriptor.Local", "local.Local")
    place.write("local.py", "from numbers_shard import NumbersShard\nclass LocalShardDescriptor(NumbersShard): pass\n")
    place.write("envoy_config.yaml", text)
    with SandboxDirector() as director, place.running(*start_command(director.address.port)) as node:
        node.wait_for("--health_checked--> Idle")
        assert node.stop() == Exit.OK


def test_certificates_may_stand_in_the_file(place: Place) -> None:
    authority = ThrowawayAuthority()
    (place.home / "cert").mkdir()
    authority.issue("site_1").write(place.home / "cert", "site_1")
    lines = (place.home / "envoy_config.yaml").read_text(encoding="utf-8")
    lines += "root_certificate: cert/site_1-root.pem\nprivate_key: cert/site_1-key.pem\n"
    place.write("envoy_config.yaml", lines + "certificate: cert/gone.pem\n")
    with SandboxDirector(tls=authority.issue("director")) as director:
        command = [word for word in start_command(director.address.port) if word != "--disable-tls"]
        code, printed = place.run(*command)
        assert code == Exit.CONFIGURATION
        assert printed.splitlines()[-1] == f"fedenvoy: error: certificate: {place.home}/cert/gone.pem: no such file"
        # The command line wins over the file.
        with place.running(*command, "-oc", "cert/site_1-cert.pem") as node:
            node.wait_for("--health_checked--> Idle")
            assert node.stop() == Exit.OK
        assert {call.identity for call in director.calls} == {"site_1"}


@pytest.mark.parametrize("empty", ["", "{}", "[]", "null"])
def test_empty_sections_start_a_node(place: Place, empty: str) -> None:
    place.write(
        "envoy_config.yaml",
        f"params: {empty}\noptional_plugin_components: {empty}\nagent: {empty}\nprivate_key:\n"
        f"shard_descriptor:\n  template: numbers_shard.NumbersShard\n  params: {empty}\n",
    )
    code, printed = place.run("fedenvoy", "check", "-ec", "envoy_config.yaml")
    assert code == Exit.OK, printed
    assert "envoy_config.yaml: no problems" in printed


@pytest.mark.parametrize(
    ("plugin", "monitor", "warns"),
    [
        (f"template: {NVML}", None, False),
        (f"template: {NVML}\n    settings: []", None, False),
        (f"template: {NVML}\n    params: {{}}", None, False),
        ("template: mine.Monitor", PluginSource("mine.Monitor"), False),
        ("template: mine.Monitor\n    params: {path: x}", PluginSource("mine.Monitor", {"path": "x"}), False),
        ("template: mine.Monitor\n    settings: {path: x}", PluginSource("mine.Monitor"), True),
    ],
)
def test_plugin_templates(tmp_path: Path, plugin: str, monitor: PluginSource | None, warns: bool) -> None:
    warnings: list[str] = []
    text = f"shard_descriptor: {{template: a.B}}\noptional_plugin_components:\n  cuda_device_monitor:\n    {plugin}\n"
    assert read(tmp_path, text, warnings).cuda_device_monitor == monitor
    assert any("settings is ignored, as OpenFL does" in warning for warning in warnings) is warns


@pytest.mark.parametrize("name", ["DYNACONF_PARAMS__CUDA_DEVICES", "ENV_FOR_DYNACONF", "SETTINGS_FILE_FOR_DYNACONF"])
def test_variables_of_openfls_configuration_library_are_warned_about(place: Place, name: str) -> None:
    code, printed = place.run("fedenvoy", "check", variables={name: "[7]"})
    assert code == Exit.OK
    assert f"warning: envoy_config.yaml: the environment holds {name}, which OpenFL honours and" in printed
    assert "GPUs offered       none" in printed


def test_a_local_file_beside_it_is_warned_about(place: Place) -> None:
    place.write("envoy_config.local.yaml", "params: {cuda_devices: [7]}\n")
    code, printed = place.run("fedenvoy", "check")
    assert code == Exit.OK
    assert "envoy_config.local.yaml beside it, which OpenFL merges into it, is not read" in printed
    assert "GPUs offered       none" in printed
