"""GPUs: as configured, as registered, as an experiment sees them, and as the site's own monitor reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dropin.collaborators import openfl_archive, stand_in
from dropin.experiments import Told
from dropin.programs import Place, start_command
from fedenvoy import Envoy
from fedenvoy.config import GpuSettings
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector
from integration.test_envoy_class import envoy, in_thread

NVML = "openfl.plugins.processing_units_monitor.pynvml_monitor.PynvmlCUDADeviceMonitor"
UUID = "GPU-8a56a4bc-d184-a047-2620-be19fdf913d5"


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with Told(tmp_path / "pipe") as told:
        yield told


def configure(place: Place, devices: str, more: str = "") -> None:
    place.write(
        "envoy_config.yaml",
        f"params: {{cuda_devices: {devices}, install_requirements: false}}\n"
        f"shard_descriptor: {{template: numbers_shard.NumbersShard}}\n{more}",
    )


class Seen(NamedTuple):
    """What becomes of the devices configured."""

    configured: str
    registered: list[int]
    cuda: list[Any]
    visible: str


CASES = [
    Seen("[]", [], [], "from outside"),
    Seen("[0, 1]", [0, 1], [0, 1], "0,1"),
    Seen("[2, 0]", [2, 0], [0, 1], "2,0"),
    Seen("['0', '2']", [0, 2], [0, 1], "0,2"),
    Seen(f"['{UUID}']", [0], ["0"], UUID),
]


@pytest.mark.parametrize("seen", CASES, ids=lambda seen: seen.configured)
def test_what_set_available_devices_gets_in_the_child(place: Place, told: Told, seen: Seen) -> None:
    """The numbers are those of the visible devices: cuda:0 is the first one configured, as it is with OpenFL."""
    configure(place, seen.configured)
    stand_in(place.home, told.path)
    with SandboxDirector() as director:
        director.offer("exp", openfl_archive(), to=["site_1"])
        outside = {"CUDA_VISIBLE_DEVICES": "from outside"}
        with place.running(*start_command(director.address.port), variables=outside) as node:
            given = json.loads(told.wait())
            node.wait_for("--training_finished-->")
            assert node.stop() == Exit.OK
        (call,) = director.calls_of("UpdateShardInfo")
    assert [device.index for device in call.request.shard_info.node_info.cuda_devices] == seen.registered
    assert given["cuda"] == seen.cuda
    assert given["visible"] == seen.visible
    assert given["order"] == ("PCI_BUS_ID" if seen.registered else None)
    assert given["name"] == "site_1"
    assert given["certificates"] == [None, None, None]


@pytest.mark.parametrize(
    ("devices", "seen"),
    [((), ("()", None)), ([1], ("(0,)", "1")), (("0", "1"), ("('0', '1')", "0,1")), ([UUID], ("('0',)", UUID))],
)
def test_the_class_passes_the_type_on_that_it_was_given(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, devices: Any, seen: tuple[str, str | None]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with SandboxDirector() as director:
        node = envoy(director, tmp_path / "state", cuda_devices=devices, cuda_device_monitor=Cards("n"))
        assert node.cuda_devices == tuple(devices)
        director.offer("exp", told.archive("(devices, os.environ.get('CUDA_VISIBLE_DEVICES'))"), to=["node-1"])
        with in_thread(node.start, node.stop):
            assert told.wait() == f"({seen[0]}, {seen[1]!r})"


@pytest.mark.parametrize(("hide", "visible"), [(True, ""), (False, "from outside")])
def test_without_devices_all_are_visible_unless_they_are_hidden(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, hide: bool, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "from outside")
    with SandboxDirector() as director:
        node = envoy(director, tmp_path / "state", agent__gpu=GpuSettings(hide=hide))
        director.offer("exp", told.archive("repr(os.environ['CUDA_VISIBLE_DEVICES'])"), to=["node-1"])
        with in_thread(node.start, node.stop):
            assert told.wait() == repr(visible)


class Cards:
    """A monitor of the site's own, for cards 0 and 1; it ends in `mine` where its methods differ from NVIDIA's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_driver_version(self) -> str:
        return "550.1"

    def get_cuda_version(self) -> str:
        return "12.4"

    def get_device_name(self, index: int) -> str:
        return f"{self.name}-{index}"

    def get_device_memory_total(self, _index: int) -> int:
        return 80_000

    def get_device_memory_utilized(self, index: int) -> int:
        return 1_000 + int(index)

    def get_device_utilization(self, index: int) -> str:
        return f"{index}%"


EXPECTED = [(0, "mine-0", 80_000, 1_000, "0%", "550.1", "12.4"), (1, "mine-1", 80_000, 1_001, "1%", "550.1", "12.4")]


def shown(director: SandboxDirector) -> list[tuple[Any, ...]]:
    """Wait until a health check tells of the cards; give what it tells."""
    calls = director.wait_for(
        lambda calls: [
            call
            for call in calls
            if call.method == "UpdateEnvoyStatus" and any(card.name for card in call.request.cuda_devices)
        ]
    )
    return [
        (
            card.index,
            card.name,
            card.memory_total,
            card.memory_utilized,
            card.device_utilization,
            card.cuda_driver_version,
            card.cuda_version,
        )
        for card in calls[0].request.cuda_devices
    ]


def test_a_monitor_of_the_site_s_own_is_named_in_the_configuration(place: Place) -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    body = source[source.index("class Cards:") : source.index("\n\nEXPECTED")]
    place.write("monitors.py", body)
    plugin = (
        "optional_plugin_components:\n cuda_device_monitor:\n   template: monitors.Cards\n   params: {name: mine}\n"
    )
    configure(place, "[0, 1]", plugin)
    with SandboxDirector(period=1.0) as director:
        with place.running(*start_command(director.address.port)) as node:
            assert shown(director) == EXPECTED
            assert node.stop() == Exit.OK


def test_a_monitor_of_the_program_s_own_is_given_to_the_class(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director:
        node = envoy(
            director,
            tmp_path,
            cuda_devices=(0, 1),
            cuda_device_monitor=Cards("mine"),
            agent__gpu=GpuSettings(interval=0.1),
        )
        with in_thread(node.start, node.stop):
            assert shown(director) == EXPECTED


def test_a_subclass_may_add_to_what_the_monitor_says(tmp_path: Path) -> None:
    class Renaming(Envoy):
        def _get_cuda_device_info(self) -> list[dict[str, Any]] | None:
            infos = super()._get_cuda_device_info()
            return [{**info, "name": f"mine-{info['index']}"} for info in infos or ()]

    with SandboxDirector(period=1.0) as director:
        monitor = Cards("theirs")
        settings = GpuSettings(interval=0.1)
        node = envoy(
            director, tmp_path, Renaming, cuda_devices=(0, 1), cuda_device_monitor=monitor, agent__gpu=settings
        )
        assert Envoy._get_cuda_device_info(node) == [
            {
                "index": index,
                "memory_total": 80_000,
                "memory_utilized": 1_000 + index,
                "device_utilization": f"{index}%",
                "cuda_driver_version": "550.1",
                "cuda_version": "12.4",
                "name": f"theirs-{index}",
            }
            for index in (0, 1)
        ]
        with in_thread(node.start, node.stop):
            assert shown(director) == EXPECTED


@pytest.mark.parametrize("alone", [True, False])
def test_a_hook_set_on_the_object_itself_is_honoured(tmp_path: Path, alone: bool) -> None:
    with SandboxDirector(period=1.0) as director:
        node = envoy(director, tmp_path, cuda_devices=(0,), agent__gpu=GpuSettings(interval=0.1))
        node._get_cuda_device_info = lambda: [{"index": 0, "name": "set"}]  # type: ignore[method-assign]
        with in_thread(node.send_health_check if alone else node.start, node.stop):
            assert [card[1] for card in shown(director)] == ["set"]


def test_health_checks_alone_tell_of_the_cards_too(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director:
        node = envoy(
            director,
            tmp_path,
            cuda_devices=(0, 1),
            cuda_device_monitor=Cards("mine"),
            agent__gpu=GpuSettings(interval=0.1),
        )
        with in_thread(node.send_health_check, node.stop):
            assert shown(director) == EXPECTED


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("monitors.Card", "module 'monitors' has no class 'Card'; did you mean 'Cards'?"),
        ("monitor.Cards", "there is no module 'monitor' in {home}"),
    ],
)
def test_a_monitor_that_is_not_there_ends_the_start_in_one_sentence(place: Place, template: str, words: str) -> None:
    place.write("monitors.py", "class Cards:\n    def get_driver_version(self): return ''\n")
    configure(place, "[0]", f"optional_plugin_components: {{cuda_device_monitor: {{template: {template}}}}}\n")
    with SandboxDirector() as director:
        code, printed = place.run(*start_command(director.address.port))
        assert not director.calls
    assert code == Exit.CONFIGURATION
    assert words.replace("{home}", str(place.home)) in printed.splitlines()[-1]
    assert "Traceback" not in printed


def test_openfl_s_monitor_by_its_template_needs_no_openfl_and_no_gpu(place: Place, told: Told) -> None:
    """Where there is no driver, the cards are registered, their readings are unknown, and experiments run."""
    plugin = f"optional_plugin_components:\n cuda_device_monitor:\n   template: {NVML}\n   settings: []\n"
    configure(place, "[0, 2]", plugin)
    with SandboxDirector(period=1.0) as director:
        director.offer("exp", told.archive("devices"), to=["site_1"])
        with place.running(*start_command(director.address.port)) as node:
            assert told.wait() == "(0, 1)"
            checks = director.wait_for_calls("UpdateEnvoyStatus", 3)
            assert node.stop() == Exit.OK
            printed = node.output
    assert [card.index for card in checks[-1].request.cuda_devices] == [0, 2]
    assert "Traceback" not in printed
    assert "GPU readings come from pynvml" in printed
