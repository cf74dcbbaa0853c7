"""What goes onto the wire fits it, wherever it came from."""

from __future__ import annotations

import pytest
from fedenvoy.events import DeviceReading, ShardDescription
from fedenvoy.link.dialect import BrokenChunkError, Openfl16
from fedenvoy.link.text import MAX_REPORT_BYTES, bounded, clean, device_index
from fedenvoy.wire import openfl16_pb2 as wire
from hypothesis import given
from hypothesis import strategies as st

DIALECT = Openfl16("one")
# Halves of surrogate pairs included: what Python makes of a file name or an output that is no UTF-8.
ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=200)


@given(text=ANY_TEXT)
def test_clean_text_can_be_encoded(text: str) -> None:
    assert len(clean(text)) == len(text)
    clean(text).encode("utf-8")


@given(text=ANY_TEXT, limit=st.integers(min_value=80, max_value=200))
def test_bounded_text_is_within_its_limit_and_whole(text: str, limit: int) -> None:
    data = bounded(text, limit).encode("utf-8")
    assert len(data) <= limit
    if len(text.encode("utf-8", "replace")) <= limit:
        assert data.decode("utf-8") == clean(text)


def test_a_long_report_keeps_its_beginning_and_its_end() -> None:
    text = "the first line\n" + "é" * 50_000 + "\nValueError: the last line"
    sent = DIALECT.failure("exp", 3, text).error_description
    assert len(sent.encode("utf-8")) <= MAX_REPORT_BYTES
    assert sent.startswith("the first line\n")
    assert sent.endswith("\nValueError: the last line")
    assert "bytes or more left out" in sent


@pytest.mark.parametrize(("code", "sent"), [(1, 1), (0, 0), (-9, 0), (2**40, 2**32 - 1)])
def test_any_error_code_fits(code: int, sent: int) -> None:
    assert DIALECT.failure("exp", code, "").error_code == sent


@pytest.mark.parametrize(
    ("device", "position", "index"), [(3, 0, 3), ("3", 0, 3), (" 1 ", 0, 1), ("GPU-8c0f", 2, 2), ("", 1, 1), (-1, 0, 0)]
)
def test_device_numbers(device: int | str, position: int, index: int) -> None:
    assert device_index(device, position) == index


def test_a_registration_tells_name_shapes_description_and_device_numbers() -> None:
    request = DIALECT.registration(ShardDescription(("32", "32"), ("10",), "half \ud800 a pair"), ["0", "GPU-a", 7])
    assert request == wire.UpdateShardInfoRequest(
        shard_info=wire.ShardInfo(
            node_info=wire.NodeInfo(
                name="one",
                cuda_devices=[wire.CudaDeviceInfo(index=0), wire.CudaDeviceInfo(index=1), wire.CudaDeviceInfo(index=7)],
            ),
            shard_description="half ? a pair",
            sample_shape=["32", "32"],
            target_shape=["10"],
        )
    )


def test_B70_readings_of_a_mad_driver_are_sent_within_bounds() -> None:
    mad = DeviceReading(index=0, memory_total=-1, memory_utilized=2**70, device_utilization="\udfff%")
    (device,) = DIALECT.health(running=True, readings=[mad]).cuda_devices
    assert (device.memory_total, device.memory_utilized) == (0, 2**64 - 1)
    assert device.device_utilization == "?%"


def test_a_health_check_tells_everything_of_each_device() -> None:
    reading = DeviceReading(1, 16, 4, "37%", "550.1", "12.4", "A100")
    request = DIALECT.health(running=True, readings=[reading])
    assert request == wire.UpdateEnvoyStatusRequest(
        name="one",
        is_experiment_running=True,
        cuda_devices=[
            wire.CudaDeviceInfo(
                index=1,
                memory_total=16,
                memory_utilized=4,
                device_utilization="37%",
                cuda_driver_version="550.1",
                cuda_version="12.4",
                name="A100",
            )
        ],
    )


@pytest.mark.parametrize("size", [0, 2, 4, 2**32 - 1])
def test_a_chunk_must_be_as_long_as_it_says(size: int) -> None:
    with pytest.raises(BrokenChunkError, match="3"):
        DIALECT.chunk(wire.ExperimentData(size=size, npbytes=b"abc").SerializeToString())
    assert DIALECT.chunk(wire.ExperimentData(size=3, npbytes=b"abc").SerializeToString()) == b"abc"


def test_B21_parts_of_seconds_count_and_a_missing_period_is_told_from_zero() -> None:
    reply = wire.UpdateEnvoyStatusResponse()
    assert DIALECT.period(reply) is None
    reply.health_check_period.SetInParent()
    assert DIALECT.period(reply) == 0
    reply.health_check_period.seconds, reply.health_check_period.nanos = 2, 500_000_000
    assert DIALECT.period(reply) == 2.5
