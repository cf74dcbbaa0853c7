"""The site's own GPU monitor, from its dotted path to a probe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest
from fedenvoy.config import DirectorAddress, NodeConfig, PluginSource
from fedenvoy.errors import ConfigurationError
from fedenvoy.events import DeviceReading
from fedenvoy.monitor import gpu_sampler
from fedenvoy.monitor.nvml import NvmlProbe
from fedenvoy.monitor.plugin import load_probe, probe_factory
from fedenvoy.monitor.reader import DeviceReader

MONITOR = """
    class Monitor:
        def __init__(self, prefix="card", *, scale=1):
            self.prefix, self.scale = prefix, scale
        def get_driver_version(self): return "1"
        def get_cuda_version(self): return "2"
        def get_device_name(self, index):
            import site_helper_of_monitor
            return f"{self.prefix} {index} {site_helper_of_monitor.WORD}"
        def get_device_memory_total(self, index): return 10 * self.scale
        def get_device_memory_utilized(self, index): return 5
        def get_device_utilization(self, index): return "1%"

    class Unrelated:
        pass

    NUMBER = 3
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A site's directory with modules of its own; nothing of it stays imported."""
    (tmp_path / "site_monitor.py").write_text(textwrap.dedent(MONITOR))
    (tmp_path / "site_helper_of_monitor.py").write_text("WORD = 'of the site'\n")
    (tmp_path / "site_broken.py").write_text("import module_that_no_site_has\n")
    (tmp_path / "site_no_driver.py").write_text("raise RuntimeError('no driver')\n")
    (tmp_path / "site_quits.py").write_text("raise SystemExit(1)\n")
    package = tmp_path / "site_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from site_monitor import Monitor as Inner\n")
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("site_"):
            del sys.modules[name]


def read(source: Any, home: Path) -> DeviceReading:
    (reading,) = DeviceReader([4]).read(probe_factory(source, home)()).readings
    return reading


def test_constructs_the_class_with_its_parameters(home: Path) -> None:
    source = PluginSource("site_monitor.Monitor", {"prefix": "GPU", "scale": 7})
    assert read(source, home) == DeviceReading(4, 70, 5, "1%", "1", "2", "GPU 4 of the site")


def test_finds_classes_in_packages(home: Path) -> None:
    assert read(PluginSource("site_package.inner.Inner"), home).name == "card 4 of the site"


def test_the_home_directory_comes_first_while_loading_and_last_afterwards(home: Path) -> None:
    """A late import of the plugin still works, and a file of the site's shadows nothing of the agent's."""
    (home / "json.py").write_text("raise AssertionError('this is the site\\'s json')\n")
    assert read(PluginSource("site_monitor.Monitor"), home).name == "card 4 of the site"
    assert sys.path[-1] == str(home)
    assert sys.path.count(str(home)) == 1


def test_the_home_directory_keeps_a_place_that_it_has(home: Path) -> None:
    sys.path.insert(1, str(home))
    before = list(sys.path)
    load_probe(PluginSource("site_monitor.Monitor"), home)
    assert sys.path == before


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "not a dotted path"),
        ("Monitor", "not a dotted path"),
        ("site-monitor.Monitor", "not a dotted path"),
        ("site_monitor..Monitor", "not a dotted path"),
        ("site_monitor.", "not a dotted path"),
        ("site_moniter.Monitor", "there is no module 'site_moniter'"),
        ("site_package.outer.Inner", "there is no module 'site_package.outer'"),
        ("site_monitor.inner.Monitor", "there is no module 'site_monitor.inner'"),
        ("site_monitor.Moniter", "has no class 'Moniter'; did you mean 'Monitor'?"),
        ("site_monitor.Elsewhere", "has no class 'Elsewhere'"),
        ("site_monitor.NUMBER", "something else than a GPU monitor class in 'NUMBER'"),
        ("site_monitor.Unrelated", "something else than a GPU monitor class in 'Unrelated'"),
    ],
)
def test_a_wrong_template_is_told_in_one_sentence_before_the_start(home: Path, template: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        probe_factory(PluginSource(template), home)
    (problem,) = caught.value.problems
    assert words in problem
    assert problem.startswith("cuda_device_monitor")
    assert "\n" not in problem


def test_the_agents_door_tells_it_too_but_only_where_there_are_devices(home: Path) -> None:
    def config(devices: list[int]) -> NodeConfig:
        return NodeConfig(
            shard_name="node",
            director=DirectorAddress("localhost", 1),
            shard=object(),
            cuda_devices=devices,
            cuda_device_monitor=PluginSource("nowhere.Monitor"),
        )

    with pytest.raises(ConfigurationError, match="there is no module 'nowhere'"):
        gpu_sampler(config([0]))
    assert gpu_sampler(config([])).readings() == ()


def test_parameters_that_do_not_fit_are_told(home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"params \['sclae'\] do not fit site_monitor.Monitor"):
        load_probe(PluginSource("site_monitor.Monitor", {"sclae": 2}), home)


@pytest.mark.parametrize("template", ["site_broken.Monitor", "site_no_driver.Monitor", "site_quits.Monitor"])
def test_B64_a_monitor_that_cannot_be_imported_now_gates_no_start(
    home: Path, template: str, caplog: pytest.LogCaptureFixture
) -> None:
    factory = probe_factory(PluginSource(template), home)
    assert "cannot be imported now" in caplog.text
    with pytest.raises((RuntimeError, ModuleNotFoundError, SystemExit)):
        factory()


def test_openfls_own_monitor_is_replaced_by_ours(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    template = "openfl.plugins.processing_units_monitor.pynvml_monitor.PynvmlCUDADeviceMonitor"
    for source in (PluginSource(template), None):
        probe = probe_factory(source, home)()
        assert isinstance(probe, NvmlProbe)
        probe.close()
    assert "openfl" not in sys.modules


class Live:
    closed = False

    def get_device_name(self, index: Any) -> str:
        return "live"

    def close(self) -> None:
        self.closed = True


def test_a_live_monitor_is_asked_and_never_closed(home: Path) -> None:
    live = Live()
    probe = probe_factory(live, home)()
    assert probe.get_device_name(0) == "live"
    assert not hasattr(probe, "close")


def test_a_class_stands_for_an_instance_of_it(home: Path) -> None:
    assert isinstance(probe_factory(Live, home)(), Live)
