"""What `gpu_check` checks: each function returns what it found, in one line, or raises AssertionError."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attrs import evolve
from fedenvoy.app.gpus import Gpus
from fedenvoy.app.node import Node
from fedenvoy.commands import Record
from fedenvoy.config import AgentSettings, DirectorAddress, GpuRequirements, GpuSettings, NodeConfig
from fedenvoy.devices import DeviceState
from fedenvoy.errors import Exit
from fedenvoy.monitor import gpu_sampler
from fedenvoy.monitor.fitness import size
from fedenvoy.monitor.locks import DeviceLocks, LockedError
from fedenvoy.monitor.nvml import NvmlProbe
from fedenvoy.monitor.reader import DeviceReader
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event

PATIENCE = 60.0
HELD = 256 * 2**20

CUDA = """
import ctypes, sys
cuda = ctypes.CDLL('libcuda.so.1')
def call(name, *arguments):
    error = getattr(cuda, name)(*arguments)
    assert error == 0, f'{name} gives {error}'
count, device, uuid = ctypes.c_int(), ctypes.c_int(), (ctypes.c_ubyte * 16)()
call('cuInit', 0)
call('cuDeviceGetCount', ctypes.byref(count))
for number in range(count.value):
    call('cuDeviceGet', ctypes.byref(device), number)
    call('cuDeviceGetUuid_v2', ctypes.byref(uuid), device)
    print(bytes(uuid).hex(), flush=True)
"""
HOLD = """
context, pointer = ctypes.c_void_p(), ctypes.c_ulonglong()
call('cuDevicePrimaryCtxRetain', ctypes.byref(context), device)
call('cuCtxSetCurrent', context)
call('cuMemAlloc_v2', ctypes.byref(pointer), ctypes.c_size_t({held}))
print('held', flush=True)
sys.stdin.read()
"""
EXPERIMENT = """
import ctypes
def run(shard, devices, plan):
    cuda, count = ctypes.CDLL('libcuda.so.1'), ctypes.c_int()
    begun = cuda.cuInit(0)
    cuda.cuDeviceGetCount(ctypes.byref(count))
    nvml = open('/proc/self/maps').read().count('libnvidia-ml')
    return {'begun': begun, 'count': count.value, 'nvml': nvml, 'devices': len(devices)}
"""


@dataclass
class Bench:
    """What the checks share.

    Attributes:
        isolation: How the experiment is confined; None: as a node would do it.
        probe: The open library.
        states: One per card of this machine, by number.

    """

    isolation: str | None
    probe: NvmlProbe
    states: tuple[DeviceState, ...] = field(default=())

    def look(self, *devices: int | str) -> tuple[DeviceState, ...]:
        """Read some cards once."""
        sample = DeviceReader(devices).read(self.probe)
        assert sample.error is None, f"the library answers: {sample.error}"
        return sample.states

    @property
    def numbers(self) -> tuple[int, ...]:
        """The cards."""
        return tuple(range(len(self.states)))

    def config(self, *devices: int | str, **gpu: Any) -> NodeConfig:
        """A node on these cards."""
        settings = evolve(GpuSettings(interval=0.5, lock_dir=Path(tempfile.gettempdir(), "fedenvoy-gpu-check")), **gpu)
        agent = AgentSettings(gpu=settings, isolation=self.isolation)
        return NodeConfig("check", DirectorAddress("localhost", 1), Shard(), cuda_devices=devices, agent=agent)

    @contextlib.contextmanager
    def gpus(self, *devices: int | str, **gpu: Any) -> Iterator[Gpus]:
        """The GPU side of a node."""
        config = self.config(*devices, **gpu)
        sampler = gpu_sampler(config)
        sampler.start()
        try:
            yield Gpus(config, sampler, Path(tempfile.gettempdir()))
        finally:
            assert sampler.stop(PATIENCE), "the sampler's thread did not end"


class Shard:
    """A shard of nothing."""

    sample_shape = target_shape = ("1",)
    dataset_description = ""

    def get_dataset(self, _kind: str = "train") -> list[int]:
        """Give no data."""
        return []


def driver(bench: Bench) -> str:
    """The driver tells its versions, and there are cards."""
    assert bench.states, "the driver sees no GPU"
    reading = bench.states[0].reading
    assert reading.cuda_driver_version, "the driver does not tell its version"
    names = ", ".join(state.reading.name for state in bench.states)
    return f"{reading.cuda_driver_version}, CUDA {reading.cuda_version}: {names}"


def names(bench: Bench) -> str:
    """Each card is the same one by number, UUID, shortened UUID and PCI bus id."""
    for number, state in enumerate(bench.states):
        short = state.uuid[:12]
        alone = sum(other.uuid.startswith(short) for other in bench.states) == 1
        for name in (state.uuid, state.bus_id, state.bus_id[4:], *([short] if alone else [])):
            (found,) = bench.look(name)
            assert found.uuid == state.uuid, (
                f"{name!r} leads to {found.uuid or 'nothing'}, and {number} to {state.uuid}"
            )
    return ", ".join(state.bus_id for state in bench.states)


def fields(bench: Bench) -> str:
    """Every field is read, or the driver says that there is none."""
    for state in bench.states:
        assert not state.failures, f"GPU {state.device}: {'; '.join(': '.join(failure) for failure in state.failures)}"
        assert state.reading.name, f"GPU {state.device} has no name"
    lacking = sorted({name for state in bench.states for name in state.unsupported})
    return f"not supported: {', '.join(lacking)}" if lacking else "all of them"


def sense(bench: Bench) -> str:
    """The values can be true."""
    for state in bench.states:
        if state.memory_free is not None:
            sums = state.memory_free + state.reading.memory_utilized
            assert abs(sums - state.reading.memory_total) < 4 * 2**30, f"GPU {state.device}: free and used are not all"
        if state.power is not None and state.power_limit is not None:
            assert state.power <= 1.5 * state.power_limit, f"GPU {state.device}: {state.power} W"
    first = bench.states[0]
    return f"{size(first.reading.memory_total)}, {first.temperature} °C, {first.power} W, {first.sm_clock} MHz"


def places(bench: Bench) -> str:
    """A card that is not there costs its own place alone (B65)."""
    absent, there = bench.look(99, 0)
    assert (absent.reading.name, absent.reading.index) == ("", 99), "something was read of a card that is not there"
    assert there.reading.name == bench.states[0].reading.name, "the card beside it was not read"
    return dict(absent.failures)["name"]


def cost(bench: Bench) -> str:
    """A sample takes well less than its deadline, and opens no files."""
    reader, times = DeviceReader(bench.numbers), []
    before = _descriptors()
    for _ in range(100):
        begun = time.perf_counter()
        reader.read(bench.probe)
        times.append(time.perf_counter() - begun)
    assert _descriptors() == before, f"100 samples left {_descriptors() - before} files open (B74)"
    assert max(times) < GpuSettings().deadline, f"a sample took {max(times):.1f} s"
    return f"{statistics.median(times) * 1e3:.1f} ms for {len(bench.states)} GPUs, at most {max(times) * 1e3:.1f} ms"


def reopening(bench: Bench) -> str:
    """The library can be closed and opened again without leaving anything (B74)."""
    bench.probe.close()
    counts = []
    for _ in range(10):
        probe = NvmlProbe()
        DeviceReader(bench.numbers).read(probe)
        probe.close()
        counts.append(_descriptors())
    bench.probe = NvmlProbe()
    assert counts[-1] <= counts[0], f"the open files went from {counts[0]} to {counts[-1]} in 10 openings"
    return f"{counts[-1]} files open after 10 times"


def sampler(bench: Bench) -> str:
    """The sampler's thread reads all cards, tells their age, and ends."""
    with bench.gpus(*bench.numbers) as gpus:
        assert not gpus.unfit(), gpus.unfit()
        report = gpus.report()
        assert report.age is not None, f"there is no sample: {report.error}"
        assert report.age < PATIENCE, f"the sample is {report.age:.0f} s old"
        assert [state.uuid for state in report.devices] == [state.uuid for state in bench.states], "other cards"
        return f"a sample of {report.age:.2f} s ago"


def visibility(bench: Bench) -> str:
    """A process sees the cards it is given, in this order, and no other; CUDA begins beside an open NVML (B75)."""
    lists = [bench.numbers, bench.numbers[::-1], *((number,) for number in bench.numbers)]
    for devices in lists:
        with bench.gpus(*devices) as gpus:
            done = _cuda(gpus.variables(), CUDA)
        assert done.returncode == 0, f"CUDA in a process of its own: {done.stderr.strip().splitlines()[-1]}"
        wanted = [_hex(bench.states[number].uuid) for number in devices]
        assert done.stdout.split() == wanted, f"given {list(devices)}, it sees {done.stdout.split()}, not {wanted}"
    return f"{len(lists)} lists of cards"


def usage(bench: Bench) -> str:
    """Memory that a process takes is seen, with the process; a site that wants the card alone declines meanwhile."""
    (before,) = bench.look(0)
    alone = GpuRequirements(exclusive=True)
    with bench.gpus(0) as gpus, _holding(gpus.variables()), bench.gpus(0, require=alone) as wanting:
        (held,) = bench.look(0)
        grown = held.reading.memory_utilized - before.reading.memory_utilized
        assert grown >= HELD // 2, f"{size(HELD)} were taken, and {size(max(grown, 0))} more are in use"
        assert held.processes, "no process is listed on the card"
        words = wanting.unfit()
        assert "agent.gpu.require.exclusive" in words, f"the card counts as free: {words!r}"
    return f"{size(grown)} more, {len(held.processes)} processes"


def fitness(bench: Bench) -> str:
    """What a site requires is judged."""
    total = bench.states[0].reading.memory_total
    with bench.gpus(0, require=GpuRequirements(min_free_memory=1, max_temperature=200)) as gpus:
        assert not gpus.unfit(), gpus.unfit()
    with bench.gpus(0, require=GpuRequirements(min_free_memory=2 * total)) as gpus:
        words = gpus.unfit()
    assert "min_free_memory" in words, f"twice the memory is found free: {words!r}"
    with bench.gpus(0, require=GpuRequirements(no_ecc_errors=True)) as gpus:
        return gpus.unfit() or "no uncorrected memory errors"


def locking(bench: Bench) -> str:
    """Two agents do not take one card for themselves."""
    with tempfile.TemporaryDirectory() as place:
        one, two = DeviceLocks(Path(place)), DeviceLocks(Path(place))
        with one.held([(bench.states[0].uuid, True)]):
            try:
                with two.held([(bench.states[0].uuid, False)]):
                    raise AssertionError("both hold it")
            except LockedError as error:
                return str(error)


def whole(bench: Bench) -> str:
    """A node on the first card: its checks tell the card, and its experiment computes on it, confined as usual."""
    told: list[Record] = []
    changed = threading.Condition()

    def observe(record: Record) -> None:
        with changed:
            told.append(record)
            changed.notify_all()

    with SandboxDirector(period=1.0) as director, tempfile.TemporaryDirectory() as place:
        config = bench.config(0)
        settings = evolve(config.agent, state_dir=Path(place), home=Path(place), child=_child(config))
        node = Node(evolve(config, director=director.address, agent=settings), observe=observe)
        director.offer("check", _archive(), to=["check"])
        codes: list[Exit] = []
        thread = threading.Thread(target=lambda: codes.append(node.run()), name="node")
        thread.start()
        try:
            with changed:
                changed.wait_for(lambda: any(r.event in _ENDS for r in told), PATIENCE)
            ends = [record for record in told if record.event in _ENDS]
            director.wait_for(
                lambda calls: any(
                    card.name == bench.states[0].reading.name
                    for call in calls
                    if call.method == "UpdateEnvoyStatus"
                    for card in call.request.cuda_devices
                )
            )
        finally:
            node.stop()
            thread.join(PATIENCE)
        assert ends, f"the experiment did not end: {told[-1].cause if told else ''}"
        assert ends[-1].event is Event.TRAINING_FINISHED, f"the experiment failed: {ends[-1].cause}"
        assert ends[-1].cause == "begun=0, count=1, nvml=0, devices=1", f"the experiment saw {ends[-1].cause}"
        assert codes == [Exit.OK], f"the node ended with {codes}"
        return f"{ends[-1].cause} ({next(r.cause for r in told if r.event is Event.SHARD_DESCRIBED)})"


_ENDS = frozenset({Event.TRAINING_FINISHED, Event.TRAINING_FAILED, Event.EXPERIMENT_UNUSABLE, Event.SHARD_UNUSABLE})
CHECKS: tuple[Callable[[Bench], str], ...] = (
    *(driver, names, fields, sense, places, cost, reopening),
    *(sampler, visibility, usage, fitness, locking, whole),
)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _hex(uuid: str) -> str:
    return uuid.partition("-")[2].replace("-", "").lower()


def _cuda(variables: Any, program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, env=os.environ | dict(variables), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@contextlib.contextmanager
def _holding(variables: Any) -> Iterator[None]:
    """Hold memory on the first card that these variables show, in another process."""
    command = [sys.executable, "-c", CUDA + HOLD.format(held=HELD)]
    with subprocess.Popen(
        command, env=os.environ | dict(variables), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            assert any(line == "held\n" for line in lines), "a process could not take memory"
            yield
        finally:
            process.kill()


def _child(config: NodeConfig) -> Any:
    """What the experiment needs to find a library that is not in the usual place."""
    given = [f"{name}={os.environ[name]}" for name in ("LD_LIBRARY_PATH", "FAKE_NVML") if name in os.environ]
    return evolve(config.agent.child, env=tuple(given))


def _archive() -> bytes:
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("plan/plan.yaml", "engine: callable\ncallable:\n  entry: experiment_code:run\n")
        zipped.writestr("experiment_code.py", EXPERIMENT)
    return buffer.getvalue()
