"""GPUs through the real nvidia-ml-py, over a library that answers, fails, hangs and loses cards as the test wants."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.devices import DeviceProcess, DeviceState
from fedenvoy.events import DeviceReading, Health, Message, Scopes
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.monitor.nvml import NvmlProbe
from fedenvoy.monitor.plugin import probe_factory
from fedenvoy.monitor.reader import DeviceReader
from fedenvoy.monitor.sampler import GpuSampler
from fedenvoy.monitor.vitals import VITALS
from fedenvoy.ports import HealthReply
from support.nvml import MIG, NAME, UUIDS, FakeMachine, machine

PATIENCE = 20.0
GIB = 2**30
BUS = ("00000000:17:00.0", "00000000:18:00.0")
NOT_SUPPORTED, NO_PERMISSION, LIBRARY_NOT_FOUND, UNKNOWN, MISMATCH = 3, 4, 12, 999, 18


@pytest.fixture
def gpus(tmp_path: Path) -> Iterator[FakeMachine]:
    """A machine with two healthy cards."""
    with machine(tmp_path) as made:
        yield made


def card(slot: int, number: int | None = None) -> DeviceReading:
    index = slot if number is None else number
    return DeviceReading(index, 80 * GIB, (slot + 1) * GIB, f"{37 + slot}%", "550.54.15", "12.4", NAME)


def unknown(number: int) -> DeviceReading:
    return DeviceReading(number, cuda_driver_version="550.54.15", cuda_version="12.4")


def read(devices: list[int | str]) -> tuple[DeviceState, ...]:
    """Open the library, look once, and shut it down."""
    probe = NvmlProbe()
    try:
        return DeviceReader(devices).read(probe).states
    finally:
        probe.close()


@contextmanager
def sampling(devices: list[int | str], **options: Any) -> Iterator[GpuSampler]:
    """A sampler that reads when it is asked to, and never by itself."""
    options = {"interval": 1000.0, "deadline": 1000.0} | options
    sampler = GpuSampler(probe_factory(None, Path()), devices, **options)
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.stop(PATIENCE)


def told(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def test_a_healthy_card_is_read_whole(gpus: FakeMachine) -> None:
    gpus.change(0, throttle=0x44 | 1, processes="4711:1073741824 4712", ecc_corrected=5)
    (state,) = read([0])
    assert state == DeviceState(
        device=0,
        reading=card(0),
        uuid=UUIDS[0],
        bus_id=BUS[0],
        memory_free=79 * GIB,
        utilization=37,
        temperature=54,
        power=351.5,
        power_limit=700.0,
        sm_clock=1980,
        memory_clock=2619,
        ecc_corrected=5,
        ecc_uncorrected=0,
        memory_worn=False,
        throttle=("power cap", "hardware thermal slowdown"),
        processes=(DeviceProcess(4711, GIB), DeviceProcess(4712, None)),
        xid=0,
    )


@pytest.mark.parametrize(
    "device",
    [0, "0", UUIDS[0], UUIDS[0][:12], BUS[0], "0000:17:00.0", "17:00.0"],
)
def test_a_card_is_found_by_number_uuid_and_bus_id(gpus: FakeMachine, device: int | str) -> None:
    (state,) = read([device])
    assert (state.device, state.uuid, state.bus_id, state.failures) == (device, UUIDS[0], BUS[0], ())


@pytest.mark.parametrize("device", ["GPU-", "GPU-none-of-these", "99:00.0"])
def test_a_name_that_fits_no_single_card_is_told(gpus: FakeMachine, device: str) -> None:
    (state,) = read([device])
    assert state.reading == unknown(0)
    assert dict(state.failures)["name"].startswith("NVMLError_NotFound")


def test_B64_a_stub_library_costs_the_readings_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A library is there, but without the function that begins everything: in images built without the driver."""
    hidden = ("nvmlInitWithFlags",)
    with machine(tmp_path, hidden=hidden), sampling([0, 1]) as sampler:
        assert sampler.refresh(PATIENCE)
        assert sampler.readings() == (DeviceReading(0), DeviceReading(1))
        assert "FunctionNotFound" in sampler.report().error
    assert len(told(caplog, "could not be started (experiments are not affected")) == 1


def test_B64_a_driver_that_is_loaded_later_is_found(gpus: FakeMachine) -> None:
    """The neighbour: nothing is wrong for ever."""
    gpus.fail("nvmlInitWithFlags", 9)
    with sampling([0]) as sampler:
        assert sampler.refresh(PATIENCE)
        assert sampler.age() is None
        gpus.fail("nvmlInitWithFlags", 0)
        assert sampler.refresh(PATIENCE)
        assert sampler.readings() == (card(0),)
        assert sampler.report().error == ""


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([0, 99], (card(0), unknown(99))),
        ([99, 0], (unknown(99), card(0))),
        ([1, 0], (card(1), card(0))),
        ([BUS[1], UUIDS[0]], (card(1, 0), card(0, 1))),
        ([], ()),
    ],
)
def test_B65_each_device_keeps_its_place(
    gpus: FakeMachine, devices: list[int | str], expected: tuple[DeviceReading, ...]
) -> None:
    assert tuple(state.reading for state in read(devices)) == expected


def test_B65_a_card_that_falls_off_the_bus_is_not_mistaken_for_its_neighbour(gpus: FakeMachine) -> None:
    """When the library is opened anew, card 1 is number 0."""
    with sampling([0, 1]) as sampler:
        assert sampler.refresh(PATIENCE)
        gpus.change(0, lost=1)
        assert sampler.refresh(PATIENCE)
        assert [state.lost for state in sampler.report().devices] == [True, False]
        gpus.set(order="1")
        assert sampler.refresh(PATIENCE)
        lost, there = sampler.report().devices
        assert gpus.calls("nvmlInitWithFlags") == 2
        assert (lost.lost, lost.uuid, lost.reading.memory_total) == (True, UUIDS[0], 0)
        assert (there.uuid, there.reading) == (UUIDS[1], card(1))


def test_B66_texts_are_read_whatever_they_are_made_of(gpus: FakeMachine, caplog: pytest.LogCaptureFixture) -> None:
    gpus.change(0, name=b"GeForce \xe9\xff")
    gpus.set(driver="   550.54.15 ")
    with caplog.at_level(logging.INFO):
        bad, good = read([0, 1])
    assert bad.reading.name == "GeForce \ufffd\ufffd"
    assert bad.reading.cuda_driver_version == "550.54.15"
    assert (good.reading.name, good.failures) == (NAME, ())
    assert "nvidia-ml-py" in told(caplog, "GPU readings come from")[0]


def test_B66_a_name_steers_no_terminal(gpus: FakeMachine) -> None:
    """The neighbour: bytes that are text and yet not harmless."""
    gpus.change(0, name="\x1b[2Jcard" + "x" * 80)
    (state,) = read([0])
    assert state.reading.name.isprintable()


def test_B68_a_mig_instance_has_what_it_has_and_the_rest_of_its_card(
    gpus: FakeMachine, caplog: pytest.LogCaptureFixture
) -> None:
    gpus.mig(8, parent=1)
    reader, probe = DeviceReader([MIG]), NvmlProbe()
    reader.read(probe)
    (state,) = reader.read(probe).states
    probe.close()
    assert state.reading == DeviceReading(0, 10 * GIB, GIB, "", "550.54.15", "12.4", f"{NAME} MIG 1g.10gb")
    assert (state.uuid, state.parent, state.bus_id) == (MIG, UUIDS[1], BUS[1])
    assert (state.temperature, state.power, state.processes) == (54, 351.5, ())
    assert (state.utilization, state.unsupported) == (None, ("load", "utilization"))
    assert len(told(caplog, "the load of device")) == 1, "said once, not at each poll"


@pytest.mark.parametrize("error", [NO_PERMISSION, UNKNOWN])
def test_B68_a_card_that_may_not_be_looked_at_costs_its_instance_nothing(gpus: FakeMachine, error: int) -> None:
    """The neighbour: in a container with one instance, the card around it is out of bounds."""
    gpus.mig(8, parent=1)
    for function in ("Temperature", "PowerUsage", "EnforcedPowerLimit", "UUID", "ClockInfo", "PciInfo_v3"):
        gpus.fail(f"nvmlDeviceGet{function}", error, slot=1)
    (state,) = read([MIG])
    assert (state.reading.memory_total, state.uuid, state.parent) == (10 * GIB, MIG, "")
    assert {"temperature", "power", "parent", "bus id"} <= dict(state.failures).keys()


FUNCTIONS = {
    "nvmlDeviceGetUtilizationRates": {"utilization"},
    "nvmlDeviceGetMemoryInfo": {"memory_free"},
    "nvmlDeviceGetName": set(),
    "nvmlDeviceGetUUID": {"uuid"},
    "nvmlDeviceGetPciInfo_v3": {"bus_id"},
    "nvmlDeviceGetTemperature": {"temperature"},
    "nvmlDeviceGetPowerUsage": {"power"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit"},
    "nvmlDeviceGetClockInfo": {"sm_clock", "memory_clock"},
    "nvmlDeviceGetTotalEccErrors": {"ecc_corrected", "ecc_uncorrected"},
    "nvmlDeviceGetRemappedRows": {"memory_worn"},
    "nvmlDeviceGetCurrentClocksEventReasons": {"throttle"},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"processes"},
    "nvmlDeviceRegisterEvents": {"xid"},
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_B68_what_one_function_refuses_costs_its_own_fields_alone(gpus: FakeMachine, function: str) -> None:
    (whole,) = read([0])
    gpus.fail(function, NO_PERMISSION)
    (state,) = read([0])
    empty = {name for name in VITALS if getattr(state, name) != getattr(whole, name)}
    assert empty == FUNCTIONS[function]
    assert {name.replace("_", " ") for name in empty} <= dict(state.failures).keys()


@pytest.mark.parametrize("help_in", ["neither", "second form"])
def test_B69_unified_memory_is_unknown_and_nothing_else_is(gpus: FakeMachine, help_in: str) -> None:
    if help_in == "neither":
        gpus.change(0, total=None)
    else:
        gpus.fail("nvmlDeviceGetMemoryInfo", NOT_SUPPORTED)
    state, neighbour = read([0, 1])
    if help_in == "neither":
        assert (state.reading.memory_total, state.reading.memory_utilized, state.memory_free) == (0, 0, None)
        assert state.unsupported == ("memory size", "used memory", "memory free")
        assert (state.reading.name, state.reading.device_utilization, state.temperature) == (NAME, "37%", 54)
        assert neighbour.reading == card(1)
    else:
        assert (state.reading, neighbour.reading, state.unsupported) == (card(0), card(1), ())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"used": 200 * GIB}, {"memory_utilized": 80 * GIB}),
        ({"total": 2**64 - 2, "used": 2**64 - 2}, {"memory_total": 2**64 - 2, "memory_utilized": 2**64 - 2}),
        ({"util": 2**32 - 1}, {"device_utilization": ""}),
        ({"name": ""}, {"name": ""}),
    ],
)
def test_B70_garbage_reaches_nobody(gpus: FakeMachine, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    gpus.change(0, **changes)
    (state,) = read([0])
    for name in DeviceReading.__dataclass_fields__:
        assert getattr(state.reading, name) == expected.get(name, getattr(card(0), name))


@pytest.mark.parametrize(
    ("change", "field"),
    [  # of the processes that is what a binding gives whose structures are those of another driver
        ({"temperature": 2**32 - 40}, "temperature"),
        ({"power": 2**32 - 1}, "power"),
        ({"sm_clock": 2**31}, "sm_clock"),
        ({"util": 101}, "utilization"),
        ({"processes": "4294967295:1"}, "processes"),
        ({"processes": f"1:{2**63}"}, "processes"),
    ],
)
def test_B70_a_value_that_cannot_be_is_unknown(gpus: FakeMachine, change: dict[str, Any], field: str) -> None:
    """The neighbour: fields that are not on the wire."""
    gpus.change(0, **change)
    (state,) = read([0])
    assert getattr(state, field) is None
    assert "which cannot be" in dict(state.failures)[field.replace("_", " ")]


@pytest.mark.parametrize(
    "hidden",
    [
        ("nvmlDeviceGetMemoryInfo", "nvmlSystemGetCudaDriverVersion"),
        ("nvmlDeviceGetTemperature", "nvmlDeviceGetCurrentClocksEventReasons"),
        ("nvmlDeviceGetComputeRunningProcesses_v3",),
    ],
)
def test_B70_another_form_of_a_question_is_asked_where_a_driver_lacks_the_usual(
    tmp_path: Path, hidden: tuple[str, ...]
) -> None:
    with machine(tmp_path, hidden=hidden) as made:
        made.change(0, processes="1:2", throttle=4)
        (state,) = read([0])
    assert (state.reading, state.unsupported, state.failures) == (card(0), (), ())
    assert (state.temperature, state.throttle, state.processes) == (54, ("power cap",), (DeviceProcess(1, 2),))


def test_B70_an_old_driver_has_fewer_fields_and_says_so(tmp_path: Path) -> None:
    hidden = ("nvmlDeviceGetRemappedRows", "nvmlDeviceIsMigDeviceHandle", "nvmlDeviceGetTotalEccErrors")
    with machine(tmp_path, hidden=hidden) as made:
        made.change(0, pages_pending=1)
        (state,) = read([0])
    assert (state.reading, state.memory_worn) == (card(0), True)
    assert state.unsupported == ("ecc corrected", "ecc uncorrected")


def test_B72_a_call_that_never_returns_costs_a_stale_reading(
    gpus: FakeMachine, caplog: pytest.LogCaptureFixture
) -> None:
    """The health check goes out with what was read last and its age; the thread that hangs is left behind."""
    clock = [0.0]
    sent: list[tuple[DeviceReading, ...]] = []
    told_owner: list[Message] = []
    checked = threading.Semaphore(0)

    class Director:
        def health_check(self, *, running: bool, readings: Any) -> HealthReply:
            sent.append(tuple(readings))
            return HealthReply(600.0)

    def post(message: Message) -> None:
        told_owner.append(message)
        checked.release()

    with sampling([0], clock=lambda: clock[0], deadline=10.0) as sampler:
        assert sampler.refresh(PATIENCE)
        gpus.hang("nvmlDeviceGetUtilizationRates", slot=0)
        assert not sampler.refresh(0.2)
        clock[0] = 12.0
        monitor = HealthMonitor(post, lambda: False, sampler.readings, age=sampler.age)
        monitor.begin(Director(), Scopes(link=1))
        assert checked.acquire(timeout=PATIENCE)
        monitor.check_now()
        assert checked.acquire(timeout=PATIENCE)
        assert monitor.stop(PATIENCE)
        assert sent == [(card(0),)] * 2
        assert [message.age for message in told_owner if isinstance(message, Health)] == [12.0, 12.0]
        (warning,) = told(caplog, "GPU driver")
        assert warning.startswith("the GPU driver has not answered for 12 s, asked for the load of device 0; the last")
        assert (sampler.report().overdue, sampler.report().late) == (12.0, 1)
        clock[0] = 7000.0
        assert sampler.readings()[0].device_utilization == "37%, read 7000 s ago"
        assert sampler.readings()[0].memory_utilized == 0
        assert [thread.name for thread in threading.enumerate()].count("fedenvoy-gpu") == 1
        assert not sampler.stop(60.0), "nobody waits for it"
        gpus.unplug()
        for thread in [thread for thread in threading.enumerate() if thread.name == "fedenvoy-gpu"]:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_B72_a_driver_that_answers_again_is_trusted_again(gpus: FakeMachine, caplog: pytest.LogCaptureFixture) -> None:
    """The neighbour: a call that takes long and ends. Its sample is as old as its first question."""
    clock = [0.0]
    with sampling([0], clock=lambda: clock[0], deadline=10.0) as sampler:
        assert sampler.refresh(PATIENCE)
        gpus.hang("nvmlDeviceGetTemperature")
        assert not sampler.refresh(0.2)
        clock[0] = 30.0
        sampler.readings()
        gpus.unplug()
        assert sampler.refresh(PATIENCE)
        assert (sampler.age(), sampler.report().overdue, sampler.report().late) == (0.0, 0.0, 1)
        assert len(told(caplog, "the GPU driver answers again, after 30 s")) == 1


def test_B73_data_resumes_after_a_while_of_errors(gpus: FakeMachine, caplog: pytest.LogCaptureFixture) -> None:
    functions = [f"nvmlDeviceGet{name}" for name in ("MemoryInfo", "UtilizationRates", "Name")]
    with sampling([0]) as sampler:
        assert sampler.refresh(PATIENCE)
        for function in (*functions, "nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion"):
            gpus.fail(function, UNKNOWN)
        for _ in range(4):
            assert sampler.refresh(PATIENCE)
        assert "Unknown Error" in sampler.report().error
        assert sampler.readings() == (card(0),)
        for function in (*functions, "nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion"):
            gpus.fail(function, 0)
        assert sampler.refresh(PATIENCE)
        assert sampler.report().error == ""
    assert len(told(caplog, "could not be read")) == 1


def test_B73_errors_of_one_card_leave_the_other_s_data(gpus: FakeMachine) -> None:
    """The neighbour: a single card in trouble, and out of it again."""
    with sampling([0, 1]) as sampler:
        gpus.fail("nvmlDeviceGetMemoryInfo", UNKNOWN, slot=0)
        assert sampler.refresh(PATIENCE)
        assert [reading.memory_total for reading in sampler.readings()] == [0, 80 * GIB]
        gpus.fail("nvmlDeviceGetMemoryInfo", 0, slot=0)
        assert sampler.refresh(PATIENCE)
        assert sampler.readings() == (card(0), card(1))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def look_often(gpus: FakeMachine, times: int) -> None:
    reader, probe = DeviceReader([0, 1]), NvmlProbe()
    reader.read(probe)
    before = descriptors()
    for _ in range(times):
        reader.read(probe)
    assert descriptors() == before
    assert gpus.calls("nvmlInitWithFlags") == 1
    assert gpus.calls("nvmlDeviceGetHandleByIndex_v2") == 2
    assert gpus.calls("nvmlEventSetCreate") == 2
    probe.close()
    assert gpus.calls("nvmlEventSetFree") == 2
    assert gpus.calls("nvmlShutdown") == 1


def test_B74_the_library_is_opened_once(gpus: FakeMachine) -> None:
    before = descriptors()
    look_often(gpus, 50)
    assert descriptors() == before, "and closed once"


@pytest.mark.nightly
def test_B74_the_library_is_opened_once_in_ten_thousand_polls(gpus: FakeMachine) -> None:
    look_often(gpus, 10_000)


def test_B74_a_loss_opens_it_again_and_leaks_nothing(gpus: FakeMachine) -> None:
    """The neighbour: a driver that keeps losing a card."""
    with sampling([0, 1], interval=1000.0) as sampler:
        assert sampler.refresh(PATIENCE)
        before = descriptors()
        gpus.change(1, lost=1)
        for _ in range(20):
            assert sampler.refresh(PATIENCE)
        assert gpus.calls("nvmlInitWithFlags") == 2, "at growing intervals, not at each poll"
        assert sampler.readings()[0] == card(0)
        gpus.change(1, lost=None)
        assert sampler.refresh(PATIENCE)
        assert sampler.readings() == (card(0), card(1))
        assert descriptors() == before


def test_B77_a_driver_that_was_upgraded_degrades_the_readings(
    gpus: FakeMachine, caplog: pytest.LogCaptureFixture
) -> None:
    with sampling([0]) as sampler:
        assert sampler.refresh(PATIENCE)
        gpus.set(mismatch=1)
        for _ in range(5):
            assert sampler.refresh(PATIENCE)
        assert sampler.readings() == (card(0),)
        assert "version mismatch" in sampler.report().error
        assert len(told(caplog, "mismatch")) == 2, "once for the reading, once for the opening"
        gpus.set(mismatch=None)
        assert sampler.refresh(PATIENCE)
        assert sampler.report().error == ""


def test_B77_what_a_half_replaced_driver_still_answers_is_not_believed(gpus: FakeMachine) -> None:
    with sampling([0]) as sampler:
        assert sampler.refresh(PATIENCE)
        gpus.change(0, used=70 * GIB)
        gpus.fail("nvmlDeviceGetPowerUsage", MISMATCH)
        for _ in range(4):
            assert sampler.refresh(PATIENCE)
        assert sampler.readings() == (card(0),)
        assert "LibRmVersionMismatch" in sampler.report().error
        assert gpus.calls("nvmlInitWithFlags") == 2, "opened anew"


def test_B77_permissions_that_are_lost_are_told_by_field(gpus: FakeMachine, caplog: pytest.LogCaptureFixture) -> None:
    """The neighbour: the device files are closed to this user for some questions only."""
    with sampling([0]) as sampler:
        assert sampler.refresh(PATIENCE)
        gpus.fail("nvmlDeviceGetComputeRunningProcesses_v3", NO_PERMISSION)
        gpus.fail("nvmlDeviceGetMemoryInfo", NO_PERMISSION)
        for _ in range(3):
            assert sampler.refresh(PATIENCE)
        (state,) = sampler.report().devices
        assert (state.reading.memory_total, state.processes, state.temperature) == (0, None, 54)
        assert [field for field, _why in state.failures] == ["memory size", "used memory", "memory free", "processes"]
        assert len(told(caplog, "the memory size of device 0 is unknown")) == 1


def test_critical_errors_are_remembered(gpus: FakeMachine) -> None:
    with sampling([0, 1]) as sampler:
        assert sampler.refresh(PATIENCE)
        gpus.change(1, xids=2, xid=79)
        for _ in range(2):
            assert sampler.refresh(PATIENCE)
            assert [state.xid for state in sampler.report().devices] == [0, 79]
