"""The sampler's thread: losses, recoveries, and drivers that never answer. Time passes when the test says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest
from fedenvoy.config import DirectorAddress, NodeConfig, PluginSource
from fedenvoy.events import DeviceReading
from fedenvoy.monitor import gpu_sampler
from fedenvoy.monitor.sampler import GpuSampler

PATIENCE = 20.0


@dataclass
class SteppedTime:
    """A clock that moves only while the thread waits, and a thread that waits until the test lets it go on."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)
    _granted: int = 0
    _condition: threading.Condition | None = None
    _arrived: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> float:
        return self.now

    def pause(self, condition: threading.Condition, timeout: float | None) -> None:
        assert timeout is not None
        self._condition = condition
        self.waits.append(timeout)
        self._arrived.set()
        condition.notify_all()
        if not self._granted:
            condition.wait(PATIENCE)
        if self._granted:
            self._granted -= 1
            self.now += timeout

    def polls(self, count: int) -> None:
        """Return when `count` polls have been made in all."""
        assert self._arrived.wait(PATIENCE)
        assert self._condition is not None
        with self._condition:
            if count > len(self.waits):  # a wake without a grant would be taken for the end of the wait
                self._granted += count - len(self.waits)
                self._condition.notify_all()
            assert self._condition.wait_for(lambda: len(self.waits) == count, PATIENCE)


class Probe:
    """One card; its script says for each poll whether it fails. After the script all goes well."""

    def __init__(self, *script: BaseException | None) -> None:
        self.script = list(script)
        self.failing: BaseException | None = None
        self.polls = 0
        self.closed = 0

    def _answer(self, value: Any) -> Any:
        if self.failing is not None:
            raise self.failing
        return value

    def get_driver_version(self) -> str:
        self.polls += 1
        self.failing = self.script.pop(0) if self.script else None
        return str(self._answer("550"))

    def get_cuda_version(self) -> str:
        return str(self._answer("12.4"))

    def get_device_name(self, index: Any) -> str:
        return str(self._answer(f"card {index}"))

    def get_device_memory_total(self, index: Any) -> int:
        return int(self._answer(100))

    def get_device_memory_utilized(self, index: Any) -> int:
        return int(self._answer(self.polls))

    def get_device_utilization(self, index: Any) -> str:
        return str(self._answer(f"{self.polls}%"))

    def close(self) -> None:
        self.closed += 1


def reading(poll: int, index: int = 0) -> DeviceReading:
    return DeviceReading(index, 100, poll, f"{poll}%", "550", "12.4", f"card {index}")


@pytest.fixture
def time() -> SteppedTime:
    return SteppedTime()


@pytest.fixture
def sampling(time: SteppedTime) -> Iterator[Callable[..., GpuSampler]]:
    """Build and start samplers that end with the test."""
    samplers: list[GpuSampler] = []

    def build(factory: Callable[[], Any], devices: list[int | str] | None = None, interval: float = 5.0) -> GpuSampler:
        sampler = GpuSampler(factory, [0] if devices is None else devices, interval, time, pause=time.pause)
        samplers.append(sampler)
        sampler.start()
        return sampler

    yield build
    for sampler in samplers:
        assert sampler.stop(PATIENCE)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fedenvoy-gpu"]


def test_samples_at_the_interval_and_tells_the_age(sampling: Callable[..., GpuSampler], time: SteppedTime) -> None:
    probe = Probe()
    sampler = sampling(lambda: probe)
    time.polls(1)
    assert (sampler.readings(), sampler.age()) == ((reading(1),), 0.0)
    time.now += 3.0
    assert sampler.age() == 3.0
    time.polls(4)
    assert sampler.readings() == (reading(4),)
    assert time.waits == [5.0] * 4
    assert sampler.stop(PATIENCE)
    assert probe.closed == 1


def test_B65_before_the_first_poll_every_device_has_its_place(time: SteppedTime) -> None:
    sampler = GpuSampler(Probe, [3, "GPU-x", "7"], clock=time)
    assert sampler.readings() == (DeviceReading(3), DeviceReading(1), DeviceReading(7))
    assert sampler.age() is None


def test_B65_without_devices_there_is_no_thread_and_no_reading() -> None:
    sampler = GpuSampler(Probe, [])
    sampler.start()
    assert sampler.readings() == ()
    assert threads() == []
    assert sampler.stop()


def _no_library() -> Any:
    raise pynvml.NVMLError_LibraryNotFound


def test_B64_without_a_driver_one_warning_and_rare_attempts(
    sampling: Callable[..., GpuSampler], time: SteppedTime, caplog: pytest.LogCaptureFixture
) -> None:
    sampler = sampling(_no_library, [0, 1])
    time.polls(12)
    assert sampler.readings() == (DeviceReading(0), DeviceReading(1))
    assert sampler.age() is None
    assert time.waits == [5.0, 5.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0, 300.0]
    (told,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "could not be started (experiments are not affected" in told


def test_B64_a_driver_that_comes_later_is_found(sampling: Callable[..., GpuSampler], time: SteppedTime) -> None:
    attempts: list[int] = []

    def factory() -> Probe:
        attempts.append(1)
        if len(attempts) < 4:
            _no_library()
        return Probe()

    sampler = sampling(factory)
    time.polls(4)
    assert sampler.readings() == (reading(1),)


@pytest.mark.parametrize("monitor", [None, "openfl"])
def test_B78_a_node_without_gpus_starts_with_devices_configured(
    monitor: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Through the door that the agent uses, over the real binding; neither the start nor a check waits for it."""

    tried = threading.Event()

    def init() -> None:
        tried.set()
        _no_library()

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    template = "openfl.plugins.processing_units_monitor.pynvml_monitor.PynvmlCUDADeviceMonitor"
    config = NodeConfig(
        shard_name="node",
        director=DirectorAddress("localhost", 1),
        shard=object(),
        cuda_devices=[0],
        cuda_device_monitor=PluginSource(template) if monitor else None,
    )
    sampler = gpu_sampler(config)
    sampler.start()
    assert tried.wait(PATIENCE)
    assert sampler.readings() == (DeviceReading(0),)
    assert sampler.stop(PATIENCE)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_B72_a_call_that_never_returns_holds_nobody_but_its_thread(time: SteppedTime) -> None:
    stuck, release = threading.Event(), threading.Event()
    hanging = [False, True]

    class Hanging(Probe):
        def get_device_utilization(self, index: Any) -> str:
            if hanging.pop(0):
                stuck.set()
                release.wait(PATIENCE)
            return super().get_device_utilization(index)

    sampler = GpuSampler(Hanging, [0], clock=time, pause=time.pause)
    sampler.start()
    time.polls(1)
    with time._condition or threading.Condition():
        time._granted += 1
        assert time._condition is not None
        time._condition.notify_all()
    assert stuck.wait(PATIENCE)
    assert sampler.readings() == (reading(1),)
    time.now += 100.0
    assert sampler.age() == 105.0
    sampler.start()
    assert len(threads()) == 1, "nobody is started beside it"
    assert not sampler.stop(60.0), "it has hung for longer than that already, so that nothing is waited for"
    release.set()
    for thread in threads():
        thread.join(PATIENCE)


def test_B72_old_readings_keep_only_what_does_not_change(
    sampling: Callable[..., GpuSampler], time: SteppedTime, caplog: pytest.LogCaptureFixture
) -> None:
    sampler = sampling(Probe)
    time.polls(1)
    time.now += 60.0
    assert sampler.readings() == (reading(1),)
    time.now += 1.0
    for _ in range(3):
        assert sampler.readings() == (DeviceReading(0, 100, 0, "1%, read 61 s ago", "550", "12.4", "card 0"),)
    assert [record.getMessage() for record in caplog.records] == [
        "the GPUs could not be read for 61 s; what was read last is sent with its age"
    ]


def test_B73_data_resumes_after_three_failed_polls(
    sampling: Callable[..., GpuSampler], time: SteppedTime, caplog: pytest.LogCaptureFixture
) -> None:
    down = pynvml.NVMLError_Unknown()
    probe = Probe(None, down, down, down)
    with caplog.at_level(logging.INFO):
        sampler = sampling(lambda: probe)
        time.polls(4)
        assert sampler.readings() == (reading(1),)
        assert sampler.age() == 15.0
        time.polls(5)
        assert sampler.readings() == (reading(5),)
    down_again, back = [record.getMessage() for record in caplog.records]
    assert down_again.startswith("the GPUs could not be read")
    assert down_again.endswith("NVMLError_Unknown: Unknown Error")
    assert back == "GPU readings are back after 3 failed attempts"


def test_B73_a_flapping_driver_floods_no_log(
    sampling: Callable[..., GpuSampler], time: SteppedTime, caplog: pytest.LogCaptureFixture
) -> None:
    down = pynvml.NVMLError_Unknown()
    probe = Probe(*[None, down] * 50)
    with caplog.at_level(logging.INFO):
        sampling(lambda: probe)
        time.polls(100)
    assert len(caplog.records) == 4, "one pair in five minutes, and the run takes ten"


@pytest.mark.parametrize("error", [RuntimeError("bug"), SystemExit(1), KeyboardInterrupt(), MemoryError()])
def test_B73_nothing_that_a_monitor_raises_ends_the_sampler(
    sampling: Callable[..., GpuSampler], time: SteppedTime, error: BaseException
) -> None:
    opened: list[int] = []

    def factory() -> Probe:
        opened.append(1)
        if len(opened) == 1:
            raise error
        return Probe(error)

    sampler = sampling(factory)
    time.polls(3)
    assert sampler.readings() == (reading(2),)


def test_B74_the_library_is_opened_again_only_after_a_loss(
    sampling: Callable[..., GpuSampler], time: SteppedTime
) -> None:
    down = pynvml.NVMLError_GpuIsLost()
    probes = [Probe(None, down, down, None, down, down, down), Probe(down), Probe()]
    opened: list[Probe] = []

    def factory() -> Probe:
        opened.append(probes.pop(0))
        return opened[-1]

    sampling(factory)
    time.polls(6)
    assert len(opened) == 1, "two failed polls are no loss"
    time.polls(7)
    assert [probe.closed for probe in opened] == [1]
    time.polls(200)
    assert [probe.closed for probe in opened] == [1, 1, 0]


def test_B77_a_driver_that_was_replaced_degrades_the_readings_only(
    sampling: Callable[..., GpuSampler], time: SteppedTime, caplog: pytest.LogCaptureFixture
) -> None:
    mismatch = pynvml.NVMLError_LibRmVersionMismatch()
    opened: list[Probe] = []

    def factory() -> Probe:
        opened.append(Probe(*([None] if not opened else []), *[mismatch] * 50))
        return opened[-1]

    sampler = sampling(factory)
    time.polls(1)
    assert sampler.readings() == (reading(1),)
    time.polls(20)
    assert sampler.readings() == (DeviceReading(0, 100, 0, "1%, read 3330 s ago", "550", "12.4", "card 0"),)
    age = sampler.age()
    assert age is not None
    assert age > 1000
    assert "version mismatch" in caplog.text.lower()
    assert time.waits[-1] == 300.0


def test_B77_lost_permissions_are_told_field_by_field(
    sampling: Callable[..., GpuSampler], time: SteppedTime, caplog: pytest.LogCaptureFixture
) -> None:
    class Guarded(Probe):
        def get_device_memory_total(self, index: Any) -> int:
            raise pynvml.NVMLError_NoPermission

    sampler = sampling(Guarded, [0, 1])
    time.polls(5)
    assert [(r.memory_total, r.device_utilization) for r in sampler.readings()] == [(0, "5%")] * 2
    assert len([record for record in caplog.records if "memory size" in record.getMessage()]) == 2


def test_a_monitor_without_some_methods_gives_the_rest(sampling: Callable[..., GpuSampler], time: SteppedTime) -> None:
    class Sparse:
        def get_device_name(self, index: Any) -> str:
            return "card"

    sampler = sampling(Sparse)
    time.polls(1)
    assert sampler.readings() == (DeviceReading(0, name="card"),)


def test_stop_before_start_is_harmless() -> None:
    sampler = GpuSampler(Probe, [0])
    assert sampler.stop()
    sampler.start()
    assert threads() == []
