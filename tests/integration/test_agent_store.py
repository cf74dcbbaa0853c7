"""The whole agent and what it keeps: killed, with a full disk, with verdicts that nobody could take."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fedenvoy.app.site import node_directory
from fedenvoy.commands import Report, Verdict
from fedenvoy.config import NodeConfig, ReportSettings, SandboxSettings
from fedenvoy.errors import Exit, StoreError
from fedenvoy.store import SessionEntry, Store
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.archives import archive
from support.held import HOLD, is_held
from support.processes import node_program, write_home
from support.records import record, started, training
from support.small_disk import fill, free, small_disk

S, E = State, Event
MEGABYTE = 2**20
GATED = (
    HOLD
    + """
import pathlib, time
def run(shard, devices, plan):
    hold({started!r})
    while not pathlib.Path({gate!r}).exists():
        time.sleep(0.05)
    return {{'done': 1}}
"""
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes."""
    with small_disk(tmp_path / "disk", 3 * MEGABYTE) as place:
        yield place


def gated(tmp_path: Path) -> tuple[bytes, Path, Path]:
    """An experiment that trains until a file appears; give it, that file, and the one that its process holds."""
    gate, process = tmp_path / "gate", tmp_path / "process"
    return archive(GATED.format(gate=str(gate), started=str(process))), gate, process


def sessions(settings: NodeConfig) -> tuple[SessionEntry, ...]:
    store = Store(node_directory(settings), session="reader")
    try:
        return store.sessions()
    finally:
        store.close()


def journal(settings: NodeConfig, session: str) -> list[tuple[str, str]]:
    store = Store(node_directory(settings), session="reader")
    try:
        return [(line.event, line.target) for line in store.journal(session)]
    finally:
        store.close()


def leave(settings: NodeConfig, report: Report, at: float) -> None:
    """Leave an unsent verdict, as a session that was killed does."""
    store = Store(node_directory(settings), session="dead", clock=lambda: at)
    store.append(started())
    store.append(training(2))
    store.append(record(3, report=report))
    store.close()


def kill_in_training(tmp_path: Path, director: SandboxDirector, process: Path) -> None:
    """Run a node as a process of its own until it trains, and kill it; nobody waits for its experiment."""
    write_home(tmp_path / "home", tmp_path / "state")
    with node_program(tmp_path / "home", director.address.port) as agent:
        agent.wait_line("--> Training")
        deadline = time.monotonic() + 40
        while not process.exists():
            assert time.monotonic() < deadline, agent.output
            time.sleep(0.02)
        agent.process.kill()
        agent.end()


def test_B6_the_start_after_a_kill_closes_the_session_in_one_line_and_resumes_the_experiment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, gate, process = gated(tmp_path)
    with SandboxDirector(period=1.0, reoffers=True) as director:
        director.offer("exp", data, to=["node-1"])
        kill_in_training(tmp_path, director, process)
        process.unlink()
        settings = config(director.address, tmp_path / "state")
        gate.touch()
        with running(settings) as node:
            node.wait_event(E.TRAINING_FINISHED)
            director.finish("exp")
            assert node.stop() is Exit.OK
        assert not director.reports
    dead, present = sessions(settings)
    assert (dead.ended, dead.exit_code, dead.experiment, dead.run) == ("killed", None, "exp", 1)
    assert (present.ended, present.exit_code, present.id) == ("stopped", 0, node.node.session)
    (line,) = [text for text in caplog.messages if "the last session" in text]
    assert f"({dead.id}) did not end (killed, or a power cut): 'exp', which it had in hand, is taken up" in line


def test_B6_an_experiment_that_was_interrupted_is_told_as_failed_where_the_site_wants_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, _gate, process = gated(tmp_path)
    with SandboxDirector(period=1.0, reoffers=True) as director:
        director.offer("exp", data, to=["node-1"])
        kill_in_training(tmp_path, director, process)
        settings = config(director.address, tmp_path / "state", agent__on_interrupted="fail")
        with running(settings) as node:
            node.wait_event(E.STARTED)
            assert not is_held(process), "nothing of the dead agent lives when the first record is written"
            assert not list(node_directory(settings).glob("runs/*"))
            node.wait_event(E.REPORT_DELIVERED)
            (report,) = director.reports
            assert (report.experiment_name, report.error_code) == ("exp", 1)
            assert "ended unexpectedly while it had this experiment in hand" in report.error_description
            # The real director offers it again; the name rests as after every failure that is not the experiment's own.
            node.wait(lambda rs: any(r.event is E.EXPERIMENT_OFFERED and r.target is S.IDLE for r in rs))
            assert S.TRAINING not in node.path
        assert len(director.reports) == 1
    assert "the director will be told that 'exp' failed" in caplog.text


@pytest.mark.parametrize("detail", ["summary", "code"])
def test_what_is_told_of_an_interruption_keeps_to_what_the_site_allows(tmp_path: Path, detail: str) -> None:
    with SandboxDirector(period=1.0) as director:
        settings = config(
            director.address, tmp_path, agent__on_interrupted="fail", agent__report=ReportSettings(detail=detail)
        )
        store = Store(node_directory(settings), session="dead")
        store.append(started())
        store.append(training(2))
        store.close()
        with running(settings) as node:
            node.wait_event(E.REPORT_DELIVERED)
        words = director.reports[0].error_description
    told, _, digest = words.partition(" (archive sha256 ")
    assert told == "failed on this node (interrupted)" if detail == "code" else "unexpectedly" in told
    assert digest


def test_B44_a_verdict_of_a_killed_session_is_sent_by_the_next_one(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director:
        settings = config(director.address, tmp_path)
        leave(settings, Report("dead-1", "exp", Verdict.FAILED, 1, "boom", "d" * 64), time.time() - 3600)
        with running(settings) as node:
            node.wait_event(E.REPORT_DELIVERED)
            node.wait_state(S.IDLE)
        told = [report.error_description for report in director.reports]
        assert told == [f"boom (archive sha256 {'d' * 64})"]


def test_B44_a_verdict_beyond_its_time_leaves_as_a_recorded_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SandboxDirector(period=1.0) as director:
        settings = config(director.address, tmp_path)
        age = settings.agent.report.retention + 60
        leave(settings, Report("dead-1", "exp", Verdict.FAILED, 1, "boom", "d" * 64), time.time() - age)
        with running(settings) as node:
            loss = node.wait_event(E.REPORT_UNDELIVERABLE)[-1]
            assert (loss.outcome, loss.delivered, loss.experiment) == ("expired", "dead-1", "exp")
            assert loss.cause.startswith("expired: the verdict on 'exp' (failed) could not be delivered within 7 days")
            node.wait_state(S.IDLE)
        assert not director.calls_of("SetExperimentFailed")
    store = Store(node_directory(settings), session="reader")
    assert store.reports() == ()
    assert "expired" in [line.outcome for line in store.journal(node.node.session)]
    store.close()
    assert "is given up" in caplog.text


def test_a_verdict_that_was_made_before_the_clock_was_set_is_not_too_old(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director:
        settings = config(director.address, tmp_path)
        leave(settings, Report("dead-1", "exp", Verdict.FAILED, 1, "boom", "d" * 64), 60.0)
        with running(settings) as node:
            node.wait_event(E.REPORT_DELIVERED)


def test_B44_a_verdict_of_this_session_expires_as_well(tmp_path: Path) -> None:
    """Its age counts from its first delivery, which is tried as soon as it is made."""
    import grpc

    with SandboxDirector(period=1.0) as director:
        director.offer("exp", archive("def run(*_):\n    raise ValueError('no')\n"), to=["node-1"])
        director.fail("SetExperimentFailed", grpc.StatusCode.UNKNOWN)
        settings = config(director.address, tmp_path, agent__report=ReportSettings(retention=0.0))
        with running(settings) as node:
            records = node.wait_event(E.REPORT_UNDELIVERABLE)
            assert [r.outcome for r in records if r.outcome] == ["expired"]
            node.wait_state(S.IDLE, times=2)
        assert len(director.calls_of("SetExperimentFailed")) == 1


def test_a_full_disk_ends_the_child_and_the_session_with_a_last_record_and_the_next_start_recovers(
    tmp_path: Path, disk: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedenvoy.app.keeper.GRACE", 0.5)
    data, gate, process = gated(tmp_path)
    with SandboxDirector(period=1.0, reoffers=True) as director:
        director.offer("exp", data, to=["node-1"])
        settings = config(director.address, disk, agent__sandbox=SandboxSettings(write=(tmp_path,)))
        with running(settings) as node:
            node.wait_state(S.TRAINING)
            deadline = time.monotonic() + 40
            while not process.exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            ballast = fill(disk)
            node.wait_state(S.STOPPED, 90)
            assert node.join() is Exit.STORE
        assert node.records[-1].event is E.STORE_FAILED
        assert not is_held(process)
        process.unlink()
        ballast.unlink()
        assert journal(settings, node.node.session)[-1] == ("store_failed", "Stopped")
        (first,) = sessions(settings)
        assert (first.ended, first.exit_code, first.experiment) == ("store", int(Exit.STORE), "exp")
        gate.touch()
        with running(settings) as node:
            node.wait_event(E.TRAINING_FINISHED)
            assert (node_directory(settings) / "reserve-2").stat().st_blocks > 0
            director.finish("exp")
    assert "ended otherwise (store): 'exp', which it had in hand, is taken up" in caplog.text


def test_a_disk_that_is_full_at_the_start_is_one_sentence(disk: Path) -> None:
    with SandboxDirector() as director:
        settings = config(director.address, disk)
        node_directory(settings).mkdir()
        fill(disk)
        with running(settings) as node:
            with pytest.raises(StoreError, match="make room there"):
                node.join()
        assert not director.calls


@pytest.mark.parametrize("where", ["download", "unpacking", "installation"])
def test_B38_an_experiment_that_fills_the_disk_is_a_failed_experiment_and_not_the_agent_s_end(
    tmp_path: Path, disk: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is the one that the journal lies on, too."""
    if where == "installation":
        wheels = tmp_path / "wheels"
        wheels.mkdir()
        make_wheel(wheels, "big_package", "1.0", f"DATA = {os.urandom(2 * MEGABYTE).hex()!r}")
        monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
        data = archive(requirements="--no-index\nbig-package==1.0\n")
    else:
        size = 4 * MEGABYTE if where == "download" else 1400_000
        data = archive(**{"data.bin": os.urandom(size // 2).hex()})
    with SandboxDirector(period=1.0) as director:
        director.offer("big", data, to=["node-1"])
        settings = config(director.address, disk)
        with running(settings) as node:
            records = node.wait_event(E.REPORT_DELIVERED)
            event = E.REQUIREMENTS_FAILED if where == "installation" else E.EXPERIMENT_UNUSABLE
            assert [r.event for r in records if r.target is S.REPORTING] == [event]
            words = "bytes when it is unpacked, and" if where == "unpacking" else "the disk is full"
            assert words in director.reports[0].error_description
            director.offer("good", archive(), to=["node-1"])
            node.wait_event(E.TRAINING_FINISHED)
            assert free(disk) > MEGABYTE
            assert node.stop() is Exit.OK


def make_wheel(directory: Path, name: str, version: str, code: str) -> None:
    """Write a wheel by hand: one module, no build."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{name}.py", code + "\n")
        told = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        wheel.writestr(f"{info}/METADATA", told)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
