"""GPU readings through our own probe, over a stand-in for the `pynvml` module that raises its real errors."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from fedenvoy.events import DeviceReading
from fedenvoy.monitor.nvml import NvmlProbe
from fedenvoy.monitor.reader import DeviceReader
from fedenvoy.wire import openfl16_pb2 as wire
from hypothesis import given
from hypothesis import strategies as st

GIB = 2**30
UUID = "GPU-5a2e7c1d-0000-1111-2222-333344445555"
MIG = "MIG-41b36a83-0000-1111-2222-333344445555"


class FakeNvml:
    """A machine with two cards; any function can be told to fail or to give something else."""

    NVMLError = pynvml.NVMLError

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: Counter[str] = Counter()
        self.open = 0

    def _give(self, name: str, device: int | None, value: Any) -> Any:
        self.calls[name] += 1
        answer = self.answers.get(name)
        if callable(answer) and not isinstance(answer, type):
            answer = answer(device)
        if isinstance(answer, BaseException):
            raise answer
        return value if answer is None else answer

    def nvmlInit(self) -> None:
        self._give("nvmlInit", None, 0)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self._give("nvmlShutdown", None, 0)
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> Any:
        return self._give("nvmlSystemGetDriverVersion", None, "550.54.15")

    def nvmlSystemGetCudaDriverVersion(self) -> Any:
        return self._give("nvmlSystemGetCudaDriverVersion", None, 12040)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        self._give("nvmlDeviceGetHandleByIndex", index, 0)
        if index not in {0, 1}:
            raise pynvml.NVMLError_InvalidArgument
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:
        self._give("nvmlDeviceGetHandleByUUID", None, 0)
        if uuid not in {UUID, MIG}:
            raise pynvml.NVMLError_NotFound
        return 1

    def nvmlDeviceGetName(self, handle: int) -> Any:
        return self._give("nvmlDeviceGetName", handle, f"card {handle}")

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return self._give("nvmlDeviceGetMemoryInfo", handle, SimpleNamespace(total=80 * GIB, used=(handle + 1) * GIB))

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return self._give("nvmlDeviceGetUtilizationRates", handle, SimpleNamespace(gpu=37 + handle))


def card(index: int, number: int | None = None) -> DeviceReading:
    """What the stand-in says of its card `index` when all goes well."""
    return DeviceReading(
        index=index if number is None else number,
        memory_total=80 * GIB,
        memory_utilized=(index + 1) * GIB,
        device_utilization=f"{37 + index}%",
        cuda_driver_version="550.54.15",
        cuda_version="12.4",
        name=f"card {index}",
    )


def unknown(number: int) -> DeviceReading:
    """What is sent of a card that cannot be read while the driver answers."""
    return DeviceReading(number, cuda_driver_version="550.54.15", cuda_version="12.4")


def read(devices: list[int | str], nvml: FakeNvml | None = None) -> tuple[DeviceReading, ...]:
    probe = NvmlProbe(nvml or FakeNvml())
    try:
        return DeviceReader(devices).read(probe).readings
    finally:
        probe.close()


def on_wire(readings: tuple[DeviceReading, ...]) -> bytes:
    """Serialise readings as they are, without the link's own care for them."""
    devices = [
        wire.CudaDeviceInfo(
            index=reading.index,
            memory_total=reading.memory_total,
            memory_utilized=reading.memory_utilized,
            device_utilization=reading.device_utilization,
            cuda_driver_version=reading.cuda_driver_version,
            cuda_version=reading.cuda_version,
            name=reading.name,
        )
        for reading in readings
    ]
    return wire.UpdateEnvoyStatusRequest(name="node", cuda_devices=devices).SerializeToString()


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([0, 1], (card(0), card(1))),
        ([1, 0], (card(1), card(0))),
        ([0, 99], (card(0), unknown(99))),
        ([99, 0], (unknown(99), card(0))),
        (["1", "0"], (card(1), card(0))),
        (["99", "0"], (unknown(99), card(0))),
        ([0, UUID], (card(0), card(1, number=1))),
        ([MIG], (card(1, number=0),)),
        (["GPU-none", 0], (unknown(0), card(0))),
        ([-1], (unknown(0),)),
        ([99, 98], (unknown(99), unknown(98))),
        ([0, 0], (card(0), card(0))),
    ],
)
def test_B65_one_reading_for_each_device_in_order(
    devices: list[int | str], expected: tuple[DeviceReading, ...]
) -> None:
    assert read(devices) == expected
    on_wire(expected)


def test_B65_nothing_is_read_when_nothing_is_registered() -> None:
    assert read([]) == ()


@pytest.mark.parametrize("convert", [str, str.encode])
def test_B66_text_comes_as_str_or_bytes(convert: Callable[[str], str | bytes]) -> None:
    nvml = FakeNvml(nvmlSystemGetDriverVersion=convert("550.54.15"), nvmlDeviceGetName=convert("card 0"))
    assert read([0], nvml) == (card(0),)


def test_B66_text_that_is_no_text_still_fits_the_wire() -> None:
    nvml = FakeNvml(nvmlSystemGetDriverVersion=b"55\xff0\0", nvmlDeviceGetName="A\x1b[31m" + "x" * 1000)
    (reading,) = read([0], nvml)
    assert reading.cuda_driver_version == "55\N{REPLACEMENT CHARACTER}0"
    assert reading.name.startswith("A\\x1b[31mxxx")
    assert len(reading.name) == 200
    on_wire((reading,))


def test_B66_says_which_distribution_gives_the_readings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    with caplog.at_level(logging.INFO):
        NvmlProbe().close()
    assert "nvidia-ml-py" in caplog.text


@pytest.mark.parametrize(
    ("failing", "error", "expected"),
    [
        ("nvmlDeviceGetUtilizationRates", pynvml.NVMLError_NotSupported(), {"device_utilization": ""}),
        ("nvmlDeviceGetMemoryInfo", pynvml.NVMLError_NoPermission(), {"memory_total": 0, "memory_utilized": 0}),
        ("nvmlDeviceGetName", pynvml.NVMLError_Unknown(), {"name": ""}),
        ("nvmlSystemGetCudaDriverVersion", pynvml.NVMLError_FunctionNotFound(), {"cuda_version": ""}),
        ("nvmlSystemGetDriverVersion", pynvml.NVMLError_FunctionNotFound(), {"cuda_driver_version": ""}),
    ],
)
def test_B68_each_field_falls_back_by_itself_and_is_told_once(
    failing: str, error: Exception, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    probe = NvmlProbe(FakeNvml(**{failing: error}))
    reader = DeviceReader([0])
    whole = card(0)
    for _ in range(5):
        (reading,) = reader.read(probe).readings
        for name in DeviceReading.__dataclass_fields__:
            assert getattr(reading, name) == expected.get(name, getattr(whole, name))
    assert len([record for record in caplog.records if str(error) in record.getMessage()]) == len(
        [name for name in expected]
    )


def test_B69_unified_memory_counts_as_zero() -> None:
    """Also where the library answers without an error, and with nothing in it."""
    nvml = FakeNvml(nvmlDeviceGetMemoryInfo=SimpleNamespace(total=None, used=None))
    (reading,) = read([0], nvml)
    assert (reading.memory_total, reading.memory_utilized, reading.name) == (0, 0, "card 0")


@pytest.mark.parametrize(
    ("total", "used", "sent"),
    [
        (100, 200, (100, 100)),
        (-5, -1, (0, 0)),
        (2**70, 2**65, (2**64 - 1, 2**64 - 1)),
        (100, -7, (100, 0)),
        (100.9, 50.2, (100, 50)),
        (float("inf"), float("nan"), (0, 0)),
        ("100", b"7", (100, 7)),
        (None, 5, (0, 0)),
    ],
)
def test_B70_numbers_are_clamped(total: Any, used: Any, sent: tuple[int, int]) -> None:
    readings = read([0], FakeNvml(nvmlDeviceGetMemoryInfo=SimpleNamespace(total=total, used=used)))
    assert (readings[0].memory_total, readings[0].memory_utilized) == sent
    on_wire(readings)


anything = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.binary(),
    st.booleans(),
    st.sampled_from([RuntimeError("x"), SystemExit(2), pynvml.NVMLError_GpuIsLost(), KeyError()]),
)


@given(
    values=st.fixed_dictionaries(
        dict.fromkeys(
            (
                "get_driver_version",
                "get_cuda_version",
                "get_device_name",
                "get_device_memory_total",
                "get_device_memory_utilized",
                "get_device_utilization",
            ),
            anything,
        )
    ),
    devices=st.lists(st.one_of(st.integers(-3, 2**65), st.text(max_size=5)), max_size=4),
)
def test_B70_whatever_a_monitor_gives_fits_the_wire(values: dict[str, Any], devices: list[int | str]) -> None:
    def method(value: Any) -> Callable[..., Any]:
        def give(*_args: Any) -> Any:
            if isinstance(value, BaseException):
                raise value
            return value

        return give

    probe: Any = SimpleNamespace(**{name: method(value) for name, value in values.items()})
    sample = DeviceReader(devices).read(probe)
    assert len(sample.readings) == len(devices)
    assert all(reading.memory_utilized <= reading.memory_total for reading in sample.readings)
    on_wire(sample.readings)


@pytest.mark.nightly
def test_B74_ten_thousand_polls_open_the_library_once() -> None:
    nvml = FakeNvml()
    probe, reader = NvmlProbe(nvml), DeviceReader([0, 1])
    for _ in range(10_000):
        reader.read(probe)
    probe.close()
    probe.close()
    assert nvml.calls["nvmlInit"] == nvml.calls["nvmlShutdown"] == 1
    assert nvml.calls["nvmlDeviceGetHandleByIndex"] == 2, "handles are looked up once"
    assert nvml.open == 0


def test_a_handle_is_looked_up_anew_after_an_error_that_may_have_ended_it() -> None:
    errors: list[Any] = [pynvml.NVMLError_GpuIsLost(), None, pynvml.NVMLError_NotSupported(), None]
    nvml = FakeNvml(nvmlDeviceGetUtilizationRates=lambda _device: errors.pop(0))
    probe, reader = NvmlProbe(nvml), DeviceReader([0])
    lookups = []
    for _ in range(4):
        reader.read(probe)
        lookups.append(nvml.calls["nvmlDeviceGetHandleByIndex"])
    assert lookups == [2, 2, 2, 2], "once at first, once after the loss, not for a field that is not supported"


def test_closing_a_library_that_is_gone_is_harmless() -> None:
    NvmlProbe(FakeNvml(nvmlShutdown=pynvml.NVMLError_Uninitialized())).close()


def test_gives_versions_as_people_know_them() -> None:
    probe = NvmlProbe(FakeNvml(nvmlSystemGetCudaDriverVersion=11080))
    assert probe.get_cuda_version() == "11.8"
