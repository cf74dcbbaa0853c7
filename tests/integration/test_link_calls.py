"""Registration, health check and failure report, against a director that forgets, refuses and fails."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import DirectorAddress, LinkSettings
from fedenvoy.events import DeviceReading, ShardDescription
from fedenvoy.link.channel import MAX_REPLY_BYTES
from fedenvoy.link.director import DirectorLink
from fedenvoy.link.poll import LONGEST_NAME
from fedenvoy.testing import Relay, SandboxDirector
from fedenvoy.wire import openfl16_pb2 as wire

Dial = Callable[..., DirectorLink]

SHARD = ShardDescription(("32", "32"), ("10",), "numbers")


def check(link: DirectorLink, devices: int = 0) -> float:
    return link.health_check(running=False, readings=[DeviceReading(index) for index in range(devices)]).period


def failure(link: DirectorLink) -> CallKind | None:
    """Check health; give what kind of failure it was, if it was one."""
    try:
        check(link)
    except CallError as error:
        return error.kind
    return None


def test_a_registration_reaches_the_director(director: SandboxDirector, dial: Dial) -> None:
    assert dial().register(SHARD, [0, "1", "GPU-8c0f"])
    info = director.nodes["one"].shard
    assert (list(info.sample_shape), list(info.target_shape)) == (["32", "32"], ["10"])
    assert info.shard_description == "numbers"
    assert [device.index for device in info.node_info.cuda_devices] == [0, 1, 2]


def test_no_client_id_is_sent(director: SandboxDirector, dial: Dial) -> None:
    dial().register(SHARD, [])
    (call,) = director.calls
    assert call.identity == ""


def test_B04_a_refused_shard_is_an_answer_and_no_error(director: SandboxDirector, dial: Dial) -> None:
    link = dial()
    director.accept_shapes(("32", "32"), ("2",))
    assert link.register(SHARD, []) is False
    director.accept_shapes(("32", "32"), ("10",))
    assert link.register(SHARD, []) is True
    director.refuse_shards()
    assert link.register(SHARD, []) is False


@pytest.mark.parametrize(
    "shard", [ShardDescription((), ("10",)), ShardDescription(("32",), ())], ids=["sample", "target"]
)
def test_an_empty_shape_is_refused_and_not_tried_for_ever(director: SandboxDirector, dial: Dial, shard: object) -> None:
    """The real director raises, each time."""
    assert isinstance(shard, ShardDescription)
    assert dial().register(shard, []) is False
    assert not director.nodes


def test_B02_a_restarted_director_asks_for_a_new_registration_and_takes_it(
    director: SandboxDirector, dial: Dial
) -> None:
    link = dial()
    link.register(SHARD, [0])
    check(link, 1)
    director.restart()
    again = dial()
    with pytest.raises(CallError) as caught:
        check(again, 1)
    assert caught.value.kind is CallKind.REREGISTER
    assert (caught.value.code, "restart" in caught.value.text) == ("NOT_FOUND", True)
    assert again.register(SHARD, [0])
    check(again, 1)
    first, second = (call.request for call in director.calls_of("UpdateShardInfo"))
    assert first == second  # same name, shapes and devices
    assert director.nodes["one"].checks == 1


def test_B04_a_director_that_forgot_may_refuse_or_fail_the_new_registration(
    director: SandboxDirector, dial: Dial
) -> None:
    link = dial()
    assert link.register(SHARD, [])
    director.forget()
    director.refuse_shards()
    assert failure(link) is CallKind.REREGISTER
    assert link.register(SHARD, []) is False
    director.accept_shapes(None, None)
    director.fail("UpdateShardInfo", grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(CallError) as caught:
        link.register(SHARD, [])
    assert caught.value.kind is CallKind.RETRYABLE
    assert failure(link) is CallKind.REREGISTER
    assert link.register(SHARD, [])
    assert failure(link) is None


def test_B10_the_same_link_finds_a_director_that_came_back(director: SandboxDirector, dial: Dial) -> None:
    link = dial()
    link.register(SHARD, [])
    director.stop()
    with pytest.raises(CallError):
        check(link)
    director.start()
    deadline = time.monotonic() + 10
    while (kind := failure(link)) is not None:
        assert kind is CallKind.RETRYABLE
        assert time.monotonic() < deadline


def test_B09_a_director_that_is_not_up_yet_is_retryable_and_named(director: SandboxDirector, dial: Dial) -> None:
    director.stop()
    link = dial()
    with pytest.raises(CallError) as caught:
        link.register(SHARD, [])
    assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, "UNAVAILABLE")
    assert str(director.address) in caught.value.text
    link.close()
    director.start()
    assert dial().register(SHARD, [])  # a new channel does not inherit the old one's back-off


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "UNKNOWN"])
def test_B03_one_failed_health_check_changes_nothing(director: SandboxDirector, dial: Dial, code: str) -> None:
    link = dial()
    director.set_period(7)
    link.register(SHARD, [])
    assert check(link) == 7
    director.fail("UpdateEnvoyStatus", grpc.StatusCode[code])
    with pytest.raises(CallError) as caught:
        check(link)
    assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, code)
    assert link.period == 7  # the last known
    assert check(link) == 7


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "INVALID_ARGUMENT"])
@pytest.mark.parametrize("method", ["UpdateShardInfo", "UpdateEnvoyStatus", "SetExperimentFailed"])
def test_B16_a_refusal_is_told_from_an_outage(director: SandboxDirector, dial: Dial, method: str, code: str) -> None:
    link = dial()
    director.fail(method, grpc.StatusCode[code], details="no entry")
    calls: dict[str, Callable[[], object]] = {
        "UpdateShardInfo": lambda: link.register(SHARD, []),
        "UpdateEnvoyStatus": lambda: check(link),
        "SetExperimentFailed": lambda: link.experiment_failed("exp", 1, ""),
    }
    with pytest.raises(CallError, match="no entry") as caught:
        calls[method]()
    assert (caught.value.kind, caught.value.code) == (CallKind.REJECTED, code)


def test_a_server_that_is_no_director_is_rejected_in_words(dial: Dial) -> None:
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with pytest.raises(CallError, match="no director of OpenFL") as caught:
            dial(director=DirectorAddress("127.0.0.1", port)).register(SHARD, [])
        server.stop(None).wait()
    assert caught.value.kind is CallKind.REJECTED


@pytest.mark.parametrize(
    ("asked", "given"),
    [(60, 60), (1, 1), (2.5, 2.5), (3600, 3600), (0, 1), (0.5, 1), (-5, 1), (-0.25, 1), (10**9, 3600)],
)
def test_B21_the_period_is_kept_within_bounds(
    director: SandboxDirector, dial: Dial, asked: float, given: float, caplog: pytest.LogCaptureFixture
) -> None:
    link = dial()
    link.register(SHARD, [])
    director.set_period(asked)
    with caplog.at_level(logging.WARNING):
        assert [check(link), check(link)] == [given, given]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (0 if asked == given else 1)  # once, and not with every check


def test_B21_without_a_period_the_last_known_one_holds(director: SandboxDirector, dial: Dial) -> None:
    link = dial()
    link.register(SHARD, [])
    director.set_period(None)
    assert check(link) == 60
    director.set_period(9)
    assert check(link) == 9
    director.set_period(None)
    assert check(link) == 9
    assert check(dial(period=12.0)) == 12


def test_B20_the_first_health_check_can_follow_the_registration_at_once(director: SandboxDirector, dial: Dial) -> None:
    link = dial()
    link.register(SHARD, [0])
    link.health_check(running=True, readings=[DeviceReading(0, 16, 4, "37%", "550", "12.4", "A100")])
    node = director.nodes["one"]
    assert node.running
    assert [device.name for device in node.shard.node_info.cuda_devices] == ["A100"]
    first, second = director.calls
    assert second.at - first.at < 1


def test_a_health_check_has_half_a_period(director: SandboxDirector, dial: Dial) -> None:
    link = dial()
    director.set_period(1)
    link.register(SHARD, [])
    check(link)
    director.hold("UpdateEnvoyStatus")
    began = time.monotonic()
    with pytest.raises(CallError) as caught:
        check(link)
    assert 0.4 < time.monotonic() - began < 2
    assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("registered", [0, 1, 2])
def test_B65_no_more_readings_are_sent_than_devices_were_registered(
    director: SandboxDirector, dial: Dial, registered: int
) -> None:
    link = dial()
    link.register(SHARD, list(range(registered)))
    check(link, 3)  # the director would trip over the third
    assert len(director.calls_of("UpdateEnvoyStatus")[0].request.cuda_devices) == registered


def test_a_failure_report_arrives_bounded(director: SandboxDirector, dial: Dial) -> None:
    director.offer("exp", b"", ["one"])
    dial().experiment_failed("exp", 3, "x" * 100_000 + " the end")
    (report,) = director.reports
    assert (report.experiment_name, report.collaborator_name, report.error_code) == ("exp", "one", 3)
    assert len(report.error_description) <= 16 * 1024
    assert report.error_description.endswith(" the end")
    assert director.experiments["exp"].failed == ["one"]


def test_a_lost_reply_of_a_report_is_retryable_although_it_arrived(director: SandboxDirector, dial: Dial) -> None:
    director.drop_reply("SetExperimentFailed")
    link = dial()
    with pytest.raises(CallError) as caught:
        link.experiment_failed("exp", 1, "")
    assert caught.value.kind is CallKind.RETRYABLE
    assert len(director.reports) == 1


def test_B12_no_call_outlasts_its_deadline_on_a_half_open_link(director: SandboxDirector, dial: Dial) -> None:
    with Relay("127.0.0.1", director.address.port) as relay:
        link = dial(director=relay.address, settings=LinkSettings(call_timeout=0.3))
        link.register(SHARD, [])
        relay.freeze()
        for call in (lambda: link.register(SHARD, []), lambda: check(link), lambda: link.experiment_failed("e", 1, "")):
            began = time.monotonic()
            with pytest.raises(CallError) as caught:
                call()
            assert time.monotonic() - began < 2
            assert caught.value.kind is CallKind.RETRYABLE
        link.close()


def test_B15_a_new_link_makes_a_new_connection(director: SandboxDirector, dial: Dial) -> None:
    with Relay("127.0.0.1", director.address.port) as relay:
        first = dial(director=relay.address)
        first.register(SHARD, [])
        relay.reset_all()
        second = dial(director=relay.address)
        assert second.register(SHARD, [])
        assert relay.accepted >= 2
        first.close()
        second.close()


def test_B10_every_link_has_a_connection_of_its_own(director: SandboxDirector, dial: Dial) -> None:
    with Relay("127.0.0.1", director.address.port) as relay:
        links = [dial(director=relay.address) for _ in range(3)]
        for link in links:
            link.register(SHARD, [])
        assert relay.accepted == 3  # and not the one that may have gone silent, shared
        for link in links:
            link.close()


def test_B27_a_message_of_5_MiB_goes_out(director: SandboxDirector, dial: Dial) -> None:
    description = "x" * (5 * 2**20)
    dial().register(ShardDescription(("1",), ("1",), description), [])
    assert director.nodes["one"].shard.shard_description == description


def test_closing_ends_a_call_under_way(director: SandboxDirector, dial: Dial) -> None:
    link = dial()
    director.hold("UpdateShardInfo")
    errors: list[CallError] = []

    def register() -> None:
        try:
            link.register(SHARD, [])
        except CallError as error:
            errors.append(error)

    thread = threading.Thread(target=register)
    thread.start()
    director.wait_for_calls("UpdateShardInfo")
    began = time.monotonic()
    link.close()
    thread.join(5)
    assert time.monotonic() - began < 1
    assert [error.kind for error in errors] == [CallKind.CANCELLED]


@pytest.mark.parametrize("used", [False, True])
def test_a_closed_link_stays_closed(director: SandboxDirector, dial: Dial, used: bool) -> None:
    link = dial()
    if used:
        link.register(SHARD, [])
    link.close()
    link.close()
    calls: tuple[Callable[[], object], ...] = (
        lambda: link.register(SHARD, []),
        lambda: check(link),
        lambda: link.experiment_failed("exp", 1, ""),
        lambda: link.wait_experiment(lambda _call: None),
        lambda: list(link.experiment_data("exp", lambda _call: None)),
    )
    for call in calls:
        with pytest.raises(CallError) as caught:
            call()
        assert caught.value.kind is CallKind.CANCELLED
    assert len(director.calls) == used


def test_what_cannot_be_put_into_a_message_is_no_grpc_error(dial: Dial) -> None:
    with pytest.raises((TypeError, ValueError)):
        dial(shard_name=object()).register(SHARD, [])


CALLS: dict[str, Callable[[DirectorLink], object]] = {
    "UpdateShardInfo": lambda link: link.register(SHARD, []),
    "WaitExperiment": lambda link: link.wait_experiment(lambda _call: None),
    "UpdateEnvoyStatus": lambda link: link.health_check(running=False, readings=[]),
    "SetExperimentFailed": lambda link: link.experiment_failed("exp", 1, "text"),
}


@pytest.mark.parametrize("method", CALLS)
def test_a_reply_that_is_no_message_is_one_clear_error_and_no_traceback(
    director: SandboxDirector, dial: Dial, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    director.answer(method, b"\xff\xff\xff\xff this is no message")
    with pytest.raises(CallError) as caught:
        CALLS[method](dial())
    assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, "DATA_LOSS")
    assert "is no message of the protocol" in caught.value.text
    assert not caplog.records


@pytest.mark.parametrize("method", CALLS)
def test_a_reply_of_another_type_is_read_as_the_protocol_says_and_does_no_harm(
    director: SandboxDirector, dial: Dial, method: str
) -> None:
    for other in (
        wire.ExperimentData(size=2**31, npbytes=bytes(1000)),
        wire.UpdateShardInfoResponse(accepted=True),
        wire.GetExperimentDataRequest(experiment_name="a", collaborator_name="b"),
    ):
        director.answer(method, other)
        with contextlib.suppress(CallError):  # an offer without a name
            CALLS[method](dial())


@pytest.mark.parametrize("method", CALLS)
def test_a_gigantic_reply_is_refused(director: SandboxDirector, dial: Dial, method: str) -> None:
    director.answer(method, wire.WaitExperimentResponse(experiment_name="x" * MAX_REPLY_BYTES))
    with pytest.raises(CallError) as caught:
        CALLS[method](dial())
    assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize("name", ["", "x" * (LONGEST_NAME + 1)])
def test_an_offer_without_a_name_or_with_an_endless_one_is_a_failed_poll(
    director: SandboxDirector, dial: Dial, name: str
) -> None:
    director.answer("WaitExperiment", wire.WaitExperimentResponse(experiment_name=name))
    with pytest.raises(CallError, match="the director offered an experiment") as caught:
        CALLS["WaitExperiment"](dial())
    assert caught.value.kind is CallKind.RETRYABLE
    assert len(caught.value.text) < 200


def test_of_a_director_s_own_words_not_more_is_told_than_helps(director: SandboxDirector, dial: Dial) -> None:
    director.fail("UpdateEnvoyStatus", grpc.StatusCode.INTERNAL, details="why " * 50_000)
    with pytest.raises(CallError) as caught:
        check(dial())
    assert len(caught.value.text) < 2500
