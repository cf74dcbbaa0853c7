"""The health monitor over the real link, against a real gRPC server: the codes of the wire become events."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue

import grpc
import pytest
from fedenvoy.config import FetchSettings, LinkSettings, PollSettings
from fedenvoy.events import DeviceReading, Health, Message, Problem, Scopes, ShardDescription
from fedenvoy.link.director import DirectorLink
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.testing.sandbox import SandboxDirector
from fedenvoy_statecharts import Event

PATIENCE = 20.0
READINGS = (DeviceReading(0, 100, 50, "37%", "550.54.15", "12.4", "card"), DeviceReading(99))


@pytest.fixture
def director() -> Iterator[SandboxDirector]:
    with SandboxDirector(period=42.0) as sandbox:
        yield sandbox


@pytest.fixture
def link(director: SandboxDirector) -> Iterator[DirectorLink]:
    """A link with an accepted registration of two devices."""
    link = DirectorLink(
        shard_name="node",
        director=director.address,
        tls=None,
        settings=LinkSettings(),
        poll=PollSettings(),
        fetch=FetchSettings(),
    )
    assert link.register(ShardDescription(("1",), ("1",)), [0, 99])
    yield link
    link.close()


@pytest.fixture
def mailbox() -> SimpleQueue[Message]:
    return SimpleQueue()


@pytest.fixture
def monitor(link: DirectorLink, mailbox: SimpleQueue[Message]) -> Iterator[HealthMonitor]:
    """A monitor whose first check has been answered; on the real clock, so that a test asks for each further one."""
    monitor = HealthMonitor(mailbox.put, lambda: True, lambda: READINGS)
    monitor.begin(link, Scopes(link=1))
    first = mailbox.get(timeout=PATIENCE)
    assert isinstance(first, Health)
    assert (first.event, first.period, first.readings) == (Event.HEALTH_CHECKED, 42.0, READINGS)
    assert 0 < first.latency < PATIENCE
    yield monitor
    assert monitor.stop(PATIENCE)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "UNKNOWN"])
def test_B3_one_failed_check_ends_nothing(
    director: SandboxDirector, monitor: HealthMonitor, mailbox: SimpleQueue[Message], code: str
) -> None:
    director.fail("UpdateEnvoyStatus", grpc.StatusCode[code])
    monitor.check_now()
    miss = mailbox.get(timeout=PATIENCE)
    assert isinstance(miss, Problem)
    assert (miss.event, miss.code) == (Event.HEALTH_MISSED, code)
    monitor.check_now()
    again = mailbox.get(timeout=PATIENCE)
    assert isinstance(again, Health)
    assert again.period == 42.0


def test_B65_the_director_gets_one_entry_for_each_registered_device(
    director: SandboxDirector, monitor: HealthMonitor
) -> None:
    (call,) = director.calls_of("UpdateEnvoyStatus")
    assert call.request.is_experiment_running
    assert [(device.index, device.device_utilization) for device in call.request.cuda_devices] == [(0, "37%"), (99, "")]


def test_B2_a_director_that_forgot_the_shard_is_told_once(
    director: SandboxDirector, monitor: HealthMonitor, mailbox: SimpleQueue[Message]
) -> None:
    director.forget()
    monitor.check_now()
    told = mailbox.get(timeout=PATIENCE)
    assert isinstance(told, Problem)
    assert (told.event, told.code, told.scopes.link) == (Event.SHARD_FORGOTTEN, "NOT_FOUND", 1)
    monitor.check_now()
    assert monitor.stop(PATIENCE)
    assert mailbox.empty()
    assert len(director.calls_of("UpdateEnvoyStatus")) == 2


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "INVALID_ARGUMENT"])
def test_B16_a_rejection_is_no_outage(
    director: SandboxDirector, monitor: HealthMonitor, mailbox: SimpleQueue[Message], code: str
) -> None:
    director.fail("UpdateEnvoyStatus", grpc.StatusCode[code])
    monitor.check_now()
    told = mailbox.get(timeout=PATIENCE)
    assert isinstance(told, Problem)
    assert (told.event, told.code) == (Event.LINK_REJECTED, code)


def test_a_director_that_is_gone_is_lost_after_three_checks(
    director: SandboxDirector, monitor: HealthMonitor, mailbox: SimpleQueue[Message]
) -> None:
    director.stop()
    for _ in range(3):
        monitor.check_now()
        assert mailbox.get(timeout=PATIENCE).event is Event.HEALTH_MISSED
    assert mailbox.get(timeout=PATIENCE).event is Event.DIRECTOR_LOST


def test_closing_the_link_frees_a_check_under_way(
    director: SandboxDirector, link: DirectorLink, monitor: HealthMonitor, mailbox: SimpleQueue[Message]
) -> None:
    held = director.hold("UpdateEnvoyStatus")
    monitor.check_now()
    director.wait_for_calls("UpdateEnvoyStatus", 2)
    monitor.end()
    link.close()
    assert monitor.stop(PATIENCE)
    assert mailbox.empty()
    held.release()
