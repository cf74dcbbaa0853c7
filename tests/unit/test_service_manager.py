"""What a service manager hears of each step: when it is up, that it lives, for how long it may be silent, its end."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fedenvoy.commands import Record
from fedenvoy.config import AgentSettings, LinkSettings
from fedenvoy.core import Snapshot
from fedenvoy.engines.process import child_environment
from fedenvoy.events import Scopes
from fedenvoy.service.manager import ServiceManager
from fedenvoy.service.notify import NotifySocket
from fedenvoy.workspace.installer import uv_environment
from fedenvoy_statecharts import Event, State
from support.notified import Listener, statuses

S, E = State, Event

SIGNS_OF_LIFE = {
    "started",
    "shard_described",
    "health_checked",
    "health_missed",
    "director_lost",
    "shard_forgotten",
    "registration_accepted",
    "registration_failed",
    "registration_refused",
    "link_rejected",
}
"""Answers of the director, and steps that set the next try; nothing that the agent does by itself is among them."""


@dataclass
class Picture:
    describing: bool = False
    stopping: bool = False
    paused: bool = False
    period: float = 60.0


def record(event: Event, target: State = S.IDLE, *, internal: bool = False, cause: str = "") -> Record:
    return Record(
        number=1, entry=1, run=0, link=1, row="R1", source=S.IDLE, event=event, target=target, internal=internal,
        cause=cause,
    )  # fmt: skip


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    with Listener.listening(tmp_path) as listening:
        yield listening


def manager(listener: Listener, *, watchdog: float = 180.0, settings: AgentSettings | None = None) -> ServiceManager:
    return ServiceManager.from_environment(listener.environment(watchdog), settings or AgentSettings())


def said(
    listener: Listener, served: ServiceManager, event: Event, target: State = S.IDLE, **picture: object
) -> dict[str, str]:
    """Note a step, and give the fields that were sent because of it; empty when nothing was."""
    before = len(listener.heard)
    served.note(record(event, target, internal=target is S.IDLE), Picture(**picture))  # type: ignore[arg-type]
    assert served._socket is not None
    served._socket.send({"MARK": "1"})
    heard = listener.wait(lambda all_: any("MARK" in n.fields for n in all_[before:]))[before:]
    return {name: value for n in heard for name, value in n.fields.items() if name != "MARK"}


def test_without_a_manager_nothing_is_told_and_nothing_is_needed() -> None:
    environment = {"WATCHDOG_USEC": "1000", "HOME": "/x"}
    served = ServiceManager.from_environment(environment, AgentSettings())
    served.note(record(E.STARTED), Picture())
    served.close()
    assert environment == {"HOME": "/x"}


def test_the_manager_s_variables_leave_the_environment(listener: Listener) -> None:
    environment = {**listener.environment(10), "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin"}
    ServiceManager.from_environment(environment, AgentSettings()).close()
    assert environment == {"PATH": "/bin"}


def test_a_program_with_a_manager_of_its_own_does_not_hand_it_on_either() -> None:
    """One that uses the class is not told for; its variables stay, and yet no experiment and no installer sees them."""
    theirs = {
        "NOTIFY_SOCKET": "/x",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "a",
    }
    for environment in (child_environment(theirs), uv_environment(theirs, Path("/cache"))):
        assert not environment.keys() & theirs.keys()


@pytest.mark.parametrize("pid", ["", "own", "1"])
def test_only_a_watchdog_for_this_process_is_fed(listener: Listener, pid: str) -> None:
    environment = {**listener.environment(180), "WATCHDOG_PID": str(os.getpid()) if pid == "own" else pid}
    served = ServiceManager.from_environment(environment, AgentSettings())
    assert ("WATCHDOG" in said(listener, served, E.HEALTH_CHECKED)) is (pid != "1")
    served.close()


def test_the_first_step_says_that_it_is_up_and_how_far_it_is(listener: Listener) -> None:
    served = manager(listener)
    fields = said(listener, served, E.STARTED, S.DISCONNECTED, describing=True)
    served.close()
    assert fields["READY"] == "1"
    assert fields["STATUS"] == "Disconnected: started, describing the shard, the director has not been called yet"
    assert fields["WATCHDOG"] == "1"
    assert int(fields["WATCHDOG_USEC"]) > 3600 * 10**6, "a descriptor may have data to download"


@pytest.mark.parametrize("event", list(Event), ids=str)
def test_only_contact_and_accounted_retries_feed_the_watchdog(listener: Listener, event: Event) -> None:
    served = manager(listener)
    target = S.STOPPED if event is E.STORE_FAILED else S.TRAINING
    assert ("WATCHDOG" in said(listener, served, event, target)) is (str(event) in SIGNS_OF_LIFE)
    served.close()


def test_a_director_that_wants_its_checks_rarely_is_no_reason_to_be_ended(listener: Listener) -> None:
    served = manager(listener)
    assert "WATCHDOG_USEC" not in said(listener, served, E.HEALTH_CHECKED, period=60.0)
    assert int(said(listener, served, E.HEALTH_CHECKED, period=3600.0)["WATCHDOG_USEC"]) > 2 * 3600 * 10**6
    assert "WATCHDOG_USEC" not in said(listener, served, E.HEALTH_CHECKED, period=3600.0), "told once"
    assert said(listener, served, E.HEALTH_CHECKED, period=60.0)["WATCHDOG_USEC"] == str(180 * 10**6)
    served.close()


def test_a_dial_may_take_what_its_calls_may(listener: Listener) -> None:
    served = manager(listener, settings=AgentSettings(link=LinkSettings(call_timeout=300.0)))
    assert int(said(listener, served, E.REGISTRATION_FAILED)["WATCHDOG_USEC"]) > 2 * 300 * 10**6
    served.close()


def test_stopping_is_said_once_and_each_sign_of_life_asks_for_more_time(listener: Listener) -> None:
    served = manager(listener)
    first = said(listener, served, E.STOP_REQUESTED, S.TRAINING, stopping=True)
    assert first["STOPPING"] == "1"
    assert int(first["EXTEND_TIMEOUT_USEC"]) > 120 * 10**6
    assert first["STATUS"] == "Training (stopping): stop requested"
    assert said(listener, served, E.HEALTH_CHECKED, stopping=True) == {
        "EXTEND_TIMEOUT_USEC": first["EXTEND_TIMEOUT_USEC"]
    }, "the manager does not watch what it waits for"
    assert said(listener, served, E.EXPERIMENT_REOFFERED, stopping=True) == {}, "no sign of life"
    last = said(listener, served, E.DRAIN_EXPIRED, S.STOPPED, stopping=True)
    served.close()
    assert "STOPPING" not in last
    assert int(last["EXTEND_TIMEOUT_USEC"]) > AgentSettings().kill_grace * 10**6
    assert last["STATUS"] == "Stopped: drain expired"


def test_an_end_that_nobody_asked_for_is_one_too(listener: Listener) -> None:
    served = manager(listener)
    assert said(listener, served, E.LINK_REJECTED, S.STOPPED)["STOPPING"] == "1"
    served.close()


def test_no_cause_gets_a_line_of_its_own(listener: Listener) -> None:
    served = manager(listener)
    served.note(record(E.REGISTRATION_FAILED, cause="x\nREADY=1\x1b[2J" + "y" * 5000), Picture())
    (notification,) = listener.wait(len)
    served.close()
    assert "READY" not in notification.fields
    assert notification.fields["STATUS"].startswith(r"Idle: registration failed, x\nREADY=1\x1b[2Jyyy")
    assert len(notification.fields["STATUS"]) <= 240


def test_a_pause_is_said(listener: Listener) -> None:
    served = manager(listener)
    assert said(listener, served, E.PAUSE_REQUESTED, paused=True)["STATUS"] == "Idle (paused): pause requested"
    assert said(listener, served, E.RESUME_REQUESTED)["STATUS"] == "Idle: resume requested"
    served.close()


def test_the_snapshot_is_such_a_picture(listener: Listener) -> None:
    served = manager(listener)
    served.note(record(E.STARTED), Snapshot(S.DISCONNECTED, since=0.0, scopes=Scopes()))
    listener.wait(statuses)
    served.close()


def test_names_in_the_abstract_namespace() -> None:
    with Listener.listening(None) as listener:
        served = manager(listener)
        assert said(listener, served, E.STARTED)["READY"] == "1"
        served.close()


def test_an_address_of_another_kind_is_said_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    served = ServiceManager.from_environment({"NOTIFY_SOCKET": "vsock:2:1234"}, AgentSettings())
    served.note(record(E.STARTED), Picture())
    assert "NOTIFY_SOCKET=vsock:2:1234" in caplog.text


@pytest.mark.parametrize("address", ["/nonexistent/notify", "/" + "x" * 200, "@fedenvoy-test-nobody"])
def test_a_manager_that_is_not_there_is_missed_once(address: str, caplog: pytest.LogCaptureFixture) -> None:
    served = ServiceManager.from_environment({"NOTIFY_SOCKET": address}, AgentSettings())
    for _ in range(3):
        served.note(record(E.HEALTH_MISSED), Picture())
    served.close()
    warnings = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert address in warnings[0].getMessage()


def test_what_was_missed_and_still_holds_is_said_with_the_next(tmp_path: Path) -> None:
    with NotifySocket(str(tmp_path / "notify")) as notify:
        assert not notify.send({"READY": "1", "STATUS": "Disconnected: started", "WATCHDOG": "1"})
        assert not notify.send({"STATUS": "Registered: x", "EXTEND_TIMEOUT_USEC": "5"})
        with Listener.listening(tmp_path) as listener:
            assert notify.send({"STATUS": "Idle: y"})
            assert notify.send({"STATUS": "Idle: z"})
            heard = listener.wait(lambda all_: len(all_) == 2)
    assert [n.fields for n in heard] == [{"READY": "1", "STATUS": "Idle: y"}, {"STATUS": "Idle: z"}]


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        with NotifySocket(str(tmp_path / "notify")) as notify:
            sent = [notify.send({"STATUS": f"Idle: {number}", "WATCHDOG": "1"}) for number in range(5000)]
            assert not sent[-1], "its queue was meant to be full"
            deaf.settimeout(0)
            try:
                while True:
                    deaf.recv(4096)
            except BlockingIOError:
                pass
            assert notify.send({"X": "1"})
            assert deaf.recv(4096) == b"STATUS=Idle: 4999\nX=1", "the state as it is; no sign of life from before"
