"""A node whose GPUs come and go: what it takes, what it declines, what its experiments see, and what it says of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.config import ChildSettings, GpuRequirements, GpuSettings, NodeConfig
from fedenvoy.control.places import Place
from fedenvoy.errors import Exit
from fedenvoy.status import status, written
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import RunningNode, config, running
from support.archives import GOOD, archive
from support.nvml import MIG, NAME, UUIDS, FakeMachine, machine

GIB = 2**30
BUS = "0000:17:00.0"


@pytest.fixture
def gpus(tmp_path: Path) -> Iterator[FakeMachine]:
    place = tmp_path / "gpus"
    place.mkdir()
    with machine(place) as made:
        yield made


@pytest.fixture
def director() -> Iterator[SandboxDirector]:
    """One that offers what was declined again, as OpenFL 1.6's does."""
    with SandboxDirector(period=1.0, reoffers=True) as director:
        yield director


def settings(
    director: SandboxDirector, tmp_path: Path, devices: tuple[int | str, ...] = (0,), **changes: Any
) -> NodeConfig:
    """A node on these devices; `require` and the other settings of `agent.gpu` by name."""
    gpu = GpuSettings(
        interval=0.2, lock_dir=tmp_path, **{k: changes.pop(k) for k in ("require", "unfit") if k in changes}
    )
    return config(director.address, tmp_path / "state", cuda_devices=devices, agent__gpu=gpu, **changes)


def cause(node: RunningNode, event: Event) -> str:
    return [record.cause for record in node.records if record.event is event][-1]


def in_words(node: RunningNode, director: SandboxDirector, tmp_path: Path) -> str:
    """What `fedenvoy status` prints of a node."""
    (directory,) = [path.parent for path in (tmp_path / "state").glob("*/control.sock")]
    return written(status(Place(directory, "node-1", director.address.target)))


SEEN = "import os\ndef run(*_):\n    assert [os.environ[name] for name in {names}] == {values}\n    return {{}}\n"


@pytest.mark.parametrize(
    ("devices", "visible"),
    [
        ((1, BUS), (UUIDS[1], UUIDS[0])),
        pytest.param((MIG, 1), (MIG, UUIDS[1]), marks=pytest.mark.nightly),
        pytest.param(("1",), (UUIDS[1],), marks=pytest.mark.nightly),
        pytest.param((0, 99), ("0", "99"), marks=pytest.mark.nightly),
    ],
)
def test_an_experiment_sees_the_cards_that_are_read(
    tmp_path: Path, devices: tuple[int | str, ...], visible: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By UUID, whatever order the agent's surroundings count in; by what is configured, where a UUID is not known."""
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    values = ["PCI_BUS_ID", ",".join(visible)]
    code = SEEN.format(names=["CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"], values=values)
    with machine(tmp_path) as gpus, SandboxDirector() as director:
        gpus.mig(8, parent=0)
        director.offer("exp", archive(code), to=["node-1"])
        with running(settings(director, tmp_path, devices)) as node:
            node.wait_event(Event.TRAINING_FINISHED)


LOOK = """
import ctypes
def run(*_):
    maps = open('/proc/self/maps').read()
    cuda = ctypes.CDLL('libcuda.so.1')
    count = ctypes.c_int()
    begun = cuda.cuInit(0)
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return {'nvml': maps.count('libnvidia-ml') + maps.count('loaded-'), 'begun': begun, 'count': count.value}
"""


def test_B75_an_experiment_begins_with_a_clean_process(director: SandboxDirector, tmp_path: Path) -> None:
    """Nothing of the agent's NVML is in it: it can initialise CUDA, and sees the cards it was given."""
    place = tmp_path / "gpus"
    place.mkdir()
    with FakeMachine(place, 4, cuda=True).installed() as gpus:
        director.offer("exp", archive(LOOK), to=["node-1"])
        child = ChildSettings(env=tuple(f"{name}={value}" for name, value in gpus.environment.items()))
        told = settings(director, tmp_path, (3, 1), agent__child=child, agent__isolation="process")
        with running(told) as node:
            node.wait_event(Event.TRAINING_FINISHED)
            assert gpus.calls("nvmlInitWithFlags") == 1
            assert cause(node, Event.TRAINING_FINISHED) == "nvml=0, begun=0, count=2"


@pytest.mark.nightly
def test_B75_a_shard_descriptor_is_constructed_in_a_clean_process_too(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path
) -> None:
    """The neighbour: what the site's own code does with CUDA happens in processes that end."""
    with running(settings(director, tmp_path)) as node:
        node.wait_state(State.IDLE)
        wait_for_card(director)
        assert "support.shards" not in Path("/proc/self/maps").read_text(encoding="utf-8")
        assert gpus.calls("nvmlInitWithFlags") == 1
        assert node.stop() is Exit.OK
        assert gpus.calls("nvmlShutdown") == 1


def wait_for_card(director: SandboxDirector) -> Any:
    """Wait until a health check tells of the first card."""
    calls = director.wait_for(
        lambda calls: [c for c in calls if c.method == "UpdateEnvoyStatus" and c.request.cuda_devices[0].name]
    )
    return calls[0].request.cuda_devices


UNFIT = {
    "memory": (GpuRequirements(min_free_memory=79 * GIB + 1), "79.0 GiB of memory free", {"used": 0}),
    "temperature": (GpuRequirements(max_temperature=50), "is at 54 °C", {"temperature": 49}),
}


@pytest.mark.parametrize("what", ["memory", pytest.param("temperature", marks=pytest.mark.nightly)])
def test_unfit_gpus_decline_offers_until_they_are_fit(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path, what: str
) -> None:
    require, words, mended = UNFIT[what]
    director.offer("exp", archive(), to=["node-1"])
    with running(settings(director, tmp_path, require=require)) as node:
        node.wait_event(Event.EXPERIMENT_OFFERED)
        assert node.records[-1].target is State.IDLE
        assert cause(node, Event.EXPERIMENT_OFFERED).startswith(f"declined: GPU 0 ({NAME}) ")
        assert words in cause(node, Event.EXPERIMENT_OFFERED)
        assert f"the last offer, 'exp', was declined: GPU 0 ({NAME})" in in_words(node, director, tmp_path)
        assert not director.calls_of("GetExperimentData")
        gpus.change(0, **mended)
        node.wait_event(Event.TRAINING_FINISHED)
    assert not director.reports


def test_unfit_gpus_fail_offers_where_the_site_wants_that(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path
) -> None:
    gpus.change(0, ecc_uncorrected=2)
    director.offer("exp", archive(), to=["node-1"])
    require = GpuRequirements(no_ecc_errors=True)
    with running(settings(director, tmp_path, require=require, unfit="fail")) as node:
        node.wait_event(Event.REPORT_DELIVERED)
        assert node.path[2:6] == [State.IDLE, State.REVIEWING_PLAN, State.REPORTING, State.IDLE]
        (report,) = director.reports
        assert "counts 2 uncorrected memory errors (agent.gpu.require.no_ecc_errors)" in report.error_description
        assert not director.calls_of("GetExperimentData"), "nothing is downloaded for nothing"
        gpus.change(0, ecc_uncorrected=0)
        node.node.forget("exp")
        node.wait_event(Event.TRAINING_FINISHED)


@pytest.mark.parametrize("devices", [(0,), pytest.param((), marks=pytest.mark.nightly)])
def test_B78_nothing_is_asked_of_the_gpus_unless_the_site_wants_that(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path, devices: tuple[int, ...]
) -> None:
    """A card that is full, hot and faulty, and a node without one, whatever it requires."""
    gpus.change(0, used=80 * GIB, temperature=99, ecc_uncorrected=7, processes="1:2")
    director.offer("exp", archive(), to=["node-1"])
    require = GpuRequirements() if devices else GpuRequirements(min_free_memory=999 * GIB, exclusive=True)
    with running(settings(director, tmp_path, devices, require=require)) as node:
        node.wait_event(Event.TRAINING_FINISHED)


@pytest.mark.parametrize("unfit", ["wait", pytest.param("fail", marks=pytest.mark.nightly)])
def test_B78_what_is_required_and_cannot_be_known_is_not_fulfilled(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path, unfit: str
) -> None:
    """The neighbour: a site that asks is told why nothing runs, and the node starts nevertheless."""
    gpus.fail("nvmlInitWithFlags", 9)
    director.offer("exp", archive(), to=["node-1"])
    require = GpuRequirements(min_free_memory=1)
    with running(settings(director, tmp_path, require=require, unfit=unfit)) as node:
        event = Event.EXPERIMENT_OFFERED if unfit == "wait" else Event.EXPERIMENT_UNUSABLE
        node.wait_event(event)
        assert "the GPUs cannot be read, so that agent.gpu.require cannot be checked" in cause(node, event)
        assert "Driver Not Loaded" in cause(node, event)


@pytest.mark.parametrize("unfit", ["wait", pytest.param("fail", marks=pytest.mark.nightly)])
def test_gpus_that_become_unfit_before_the_experiment_begins(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path, unfit: str
) -> None:
    """Download, review and installation take their time; what was free then may be full now."""

    def review(_name: str, _path: str) -> bool:
        gpus.change(0, used=80 * GIB)
        return True

    director.offer("exp", archive(), to=["node-1"])
    told = settings(director, tmp_path, require=GpuRequirements(min_free_memory=GIB), unfit=unfit)
    with running(told, review=review) as node:
        if unfit == "wait":
            node.wait_state(State.TRAINING)
            gpus.change(0, used=0)
            node.wait_event(Event.TRAINING_FINISHED)
        else:
            node.wait_event(Event.TRAINING_FAILED)
            assert "0 bytes of memory free" in cause(node, Event.TRAINING_FAILED)


@pytest.mark.nightly
def test_an_experiment_that_waits_for_its_gpus_can_be_cancelled(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path
) -> None:
    def review(_name: str, _path: str) -> bool:
        gpus.change(0, temperature=90)
        return True

    director.offer("exp", archive(), to=["node-1"])
    with running(settings(director, tmp_path, require=GpuRequirements(max_temperature=80)), review=review) as node:
        node.wait_state(State.TRAINING)
        node.node.cancel("enough")
        node.wait_event(Event.REPORT_DELIVERED)
        assert [report.experiment_name for report in director.reports] == ["exp"]


class Meeting:
    """A place where experiments of two agents wait until the test lets them go on."""

    def __init__(self, tmp_path: Path) -> None:
        self.open = tmp_path / "open"
        self.code = (
            "import os, time\ndef run(*_):\n"
            f"    while not os.path.exists({str(self.open)!r}):\n        time.sleep(0.02)\n    return {{}}\n"
        )


@pytest.mark.parametrize("alone", [True, pytest.param(False, marks=pytest.mark.nightly)])
def test_two_agents_of_one_machine_know_of_each_other_s_gpus(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path, alone: bool
) -> None:
    """One wants card 1 for itself: the other, which names it in another way, keeps off it. Else they share it."""
    meeting = Meeting(tmp_path)
    first = settings(
        director,
        tmp_path,
        (1,),
        require=GpuRequirements(exclusive=alone),
        agent__isolation="process",
    )
    second = settings(director, tmp_path, (UUIDS[1],), shard_name="node-2", agent__isolation="process")
    director.offer("exp", archive(meeting.code), to=["node-1"])
    with running(first) as one, running(second) as two:
        one.wait_state(State.TRAINING)
        wait_for_locks(tmp_path)
        two.wait_state(State.IDLE)
        director.offer("other", archive(meeting.code), to=["node-2"])
        if alone:
            two.wait_event(Event.EXPERIMENT_OFFERED)
            expected = f"declined: GPU {UUIDS[1]} is in use by another agent (process {os.getpid()})"
            assert cause(two, Event.EXPERIMENT_OFFERED) == expected
        else:
            two.wait_state(State.TRAINING)
        meeting.open.touch()
        one.wait_event(Event.TRAINING_FINISHED)
        two.wait_event(Event.TRAINING_FINISHED)


def wait_for_locks(tmp_path: Path) -> None:
    """Wait until an agent's experiment holds a card."""
    patience, found = threading.Event(), False
    for _ in range(400):
        inodes = [f":{path.stat().st_ino} " for path in tmp_path.glob("gpu-*.lock")]
        found = any(inode in Path("/proc/locks").read_text(encoding="ascii") for inode in inodes)
        if found:
            return
        patience.wait(0.05)
    raise AssertionError("nothing was locked")


def test_the_status_shows_each_gpu(gpus: FakeMachine, director: SandboxDirector, tmp_path: Path) -> None:
    gpus.change(0, temperature=None, processes="77:1073741824")
    with running(settings(director, tmp_path, (0, 99))) as node:
        node.wait_state(State.IDLE)
        wait_for_card(director)
        lines = {line.strip()[:5].strip(): line for line in in_words(node, director, tmp_path).splitlines()}
        assert f"{NAME}, 1.0 of 80.0 GiB, 37 %, 352 W, 0 s ago; not supported: temperature" in lines["gpu 0"]
        assert "unknown GPU" in lines["gpu 9"]
        assert "not there, or it cannot be read (NVMLError_InvalidArgument: Invalid Argument)" in lines["gpu 9"]


def test_B72_a_driver_that_hangs_from_the_first_call_on_holds_nothing_up(
    gpus: FakeMachine, director: SandboxDirector, tmp_path: Path
) -> None:
    """Registration, checks, an experiment and the stop go on; the status says what is the matter."""
    gpus.hang("nvmlInitWithFlags")
    gpu = GpuSettings(interval=0.2, lock_dir=tmp_path, deadline=0.3)
    director.offer("exp", archive(GOOD), to=["node-1"])
    told = config(director.address, tmp_path / "state", cuda_devices=(0, 1), agent__gpu=gpu)
    with running(told) as node:
        node.wait_event(Event.TRAINING_FINISHED)
        node.wait_state(State.IDLE, times=2)
        (last, *_rest) = director.calls_of("UpdateEnvoyStatus")[::-1]
        assert [(card.index, card.name) for card in last.request.cuda_devices] == [(0, ""), (1, "")]
        assert "gpu driver      has not answered for" in in_words(node, director, tmp_path)
        assert node.stop() is Exit.OK
    gpus.unplug()


@pytest.mark.parametrize("devices", ["()", pytest.param("(0,)", marks=pytest.mark.nightly)])
def test_the_library_is_loaded_where_there_are_devices_only(tmp_path: Path, devices: str) -> None:
    program = f"""
import sys, threading
from fedenvoy.app.gpus import Gpus
from fedenvoy.config import DirectorAddress, GpuRequirements, GpuSettings, NodeConfig, AgentSettings
from fedenvoy.monitor import gpu_sampler
from pathlib import Path
gpu = GpuSettings(require=GpuRequirements(exclusive=True))
config = NodeConfig('n', DirectorAddress('h', 1), object(), cuda_devices={devices}, agent=AgentSettings(gpu=gpu))
sampler = gpu_sampler(config)
gpus = Gpus(config, sampler, Path({str(tmp_path)!r}))
sampler.start()
gpus.unfit(), gpus.report(), gpus.variables(), sampler.stop(20)
print('pynvml' in sys.modules, 'libnvidia-ml' in open('/proc/self/maps').read())
"""
    fake = FakeMachine(tmp_path)
    path = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | fake.environment | path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"{devices != '()'} {devices != '()'}\n"
