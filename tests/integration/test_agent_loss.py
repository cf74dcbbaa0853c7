"""The whole agent when the director fails: lost, restarted, refusing, frozen, in each state."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest
from fedenvoy.config import LinkSettings
from fedenvoy.errors import Exit
from fedenvoy.testing import Relay, SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.archives import archive

S, E = State, Event
GATED = """
import pathlib, time
def run(shard, devices, plan):
    pathlib.Path({started!r}).touch()
    while not pathlib.Path({gate!r}).exists():
        time.sleep(0.05)
    return {{'done': 1}}
"""


def gated(tmp_path: Path) -> tuple[bytes, Path]:
    """An experiment that trains until a file appears."""
    gate = tmp_path / "gate"
    return archive(GATED.format(gate=str(gate), started=str(tmp_path / "started"))), gate


def test_B9_the_agent_may_be_started_before_the_director(tmp_path: Path) -> None:
    director = SandboxDirector()
    try:
        with running(config(director.address, tmp_path)) as node:
            node.wait_event(E.REGISTRATION_FAILED, times=2)
            director.start()
            node.wait_state(S.IDLE)
            assert [r.attempt for r in node.records if r.event is E.REGISTRATION_FAILED][:2] == [2, 3]
    finally:
        director.close()


def test_B2_a_restarted_director_gets_exactly_one_registration_with_the_same_shard(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director:
        with running(config(director.address, tmp_path, cuda_devices=(0,))) as node:
            node.wait_state(S.IDLE)
            director.wait_for_calls("WaitExperiment")
            before = len(director.calls_of("UpdateShardInfo"))
            director.forget()
            node.wait_event(E.SHARD_FORGOTTEN)
            node.wait_state(S.IDLE, times=2)
            director.wait_for_calls("UpdateEnvoyStatus", len(director.calls_of("UpdateEnvoyStatus")) + 2)
            first, *rest = director.calls_of("UpdateShardInfo")
            assert len(rest) == before == 1
            assert rest[0].request == first.request
            director.wait_for_calls("WaitExperiment", 2)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNKNOWN,
    ],
)
def test_B3_one_failed_health_check_changes_nothing_but_a_number(tmp_path: Path, code: grpc.StatusCode) -> None:
    with SandboxDirector(period=1.0) as director, running(config(director.address, tmp_path)) as node:
        node.wait_state(S.IDLE)
        director.fail("UpdateEnvoyStatus", code)
        node.wait_event(E.HEALTH_MISSED)
        node.wait_event(E.HEALTH_CHECKED, times=3)
        assert node.path.count(S.DISCONNECTED) == 1


def test_B4_refused_when_registering_again_is_no_longer_idle_and_is_tried_slowly(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director, running(config(director.address, tmp_path)) as node:
        node.wait_state(S.IDLE)
        director.refuse_shards()
        director.forget()
        records = node.wait_event(E.REGISTRATION_REFUSED)
        assert records[-1].target is S.DISCONNECTED
        assert "['8']" in records[-1].cause
        assert "['1']" in records[-1].cause


def test_B4_refused_with_exit_wanted_ends_with_its_code(tmp_path: Path) -> None:
    with SandboxDirector(sample_shape=["9"], target_shape=["1"]) as director:
        settings = config(director.address, tmp_path, agent__link=LinkSettings(on_refused="exit"))
        with running(settings) as node:
            assert node.join() is Exit.REFUSED


def test_B4_unavailable_while_registering_again_is_retried_from_disconnected(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director, running(config(director.address, tmp_path)) as node:
        node.wait_state(S.IDLE)
        director.fail("UpdateShardInfo", grpc.StatusCode.UNAVAILABLE)
        director.forget()
        node.wait_event(E.REGISTRATION_FAILED)
        node.wait_state(S.IDLE, times=2)


def test_B5_an_offer_whose_answer_was_lost_is_taken_with_the_next_poll(tmp_path: Path) -> None:
    with SandboxDirector(reoffers=True) as director, running(config(director.address, tmp_path)) as node:
        node.wait_state(S.IDLE)
        director.drop_reply("WaitExperiment")
        director.offer("exp", archive(), to=["node-1"])
        node.wait_event(E.TRAINING_FINISHED)
        assert node.count(E.TRAINING_FINISHED) == 1


@pytest.mark.parametrize("fault", ["cut", "cut at once", "broken chunk", "withdrawn"])
def test_B8_a_download_that_fails_leaves_a_node_that_works(tmp_path: Path, fault: str) -> None:
    with SandboxDirector(chunk_size=256) as director:
        if fault == "withdrawn":
            details = "Exception iterating responses: [Errno 2] No such file or directory: 'exp.zip'"
            director.cut_stream(0, code=grpc.StatusCode.UNKNOWN, details=details)
        elif fault == "broken chunk":
            director.break_chunks(after_chunks=1)
        else:
            director.cut_stream(0 if fault == "cut at once" else 1)
        director.offer("exp", archive(), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            if fault == "withdrawn":
                node.wait_event(E.EXPERIMENT_WITHDRAWN)
            else:
                node.wait_event(E.FETCH_INTERRUPTED)
                node.wait_event(E.TRAINING_FINISHED)
            node.wait_state(S.IDLE, times=2)
            director.offer("next", archive(), to=["node-1"])
            node.wait(lambda rs: any(r.event is E.TRAINING_FINISHED and r.experiment == "next" for r in rs))


def test_B20_the_first_health_check_goes_out_at_once(tmp_path: Path) -> None:
    with SandboxDirector(period=3600.0) as director, running(config(director.address, tmp_path)) as node:
        node.wait_state(S.IDLE)
        methods = [call.method for call in director.calls]
        assert methods[0] == "UpdateShardInfo"
        assert sorted(methods[1:]) == ["UpdateEnvoyStatus", "WaitExperiment"]


def test_B20_the_first_poll_waits_for_no_health_check(tmp_path: Path) -> None:
    """From its registration to its first poll the director raises at everybody who lists the nodes."""
    with SandboxDirector() as director:
        held = director.hold("UpdateEnvoyStatus", times=1)
        with running(config(director.address, tmp_path)) as node:
            director.wait_for_calls("WaitExperiment")
            node.wait_state(S.REGISTERED)
            assert S.IDLE not in node.path
            held.release()
            node.wait_state(S.IDLE)
            director.offer("exp", archive(), to=["node-1"])
            node.wait_event(E.EXPERIMENT_OFFERED)
            # One poll of a name at a time: a second one would get the next experiment when nobody listens any more.
            assert len(director.calls_of("WaitExperiment")) == 1


def test_B44_a_verdict_survives_the_director_s_absence_and_is_told_once(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    code = GATED.format(gate=str(gate), started=str(tmp_path / "started")) + "    raise ValueError('no')\n"
    code = code.replace("    return {'done': 1}\n", "")
    with SandboxDirector(period=1.0) as director:
        director.offer("exp", archive(code), to=["node-1"])
        with running(config(director.address, tmp_path / "state")) as node:
            node.wait_state(S.TRAINING)
            director.stop()
            gate.touch()
            node.wait_event(E.REPORT_FAILED)
            node.wait_event(E.REGISTRATION_FAILED)
            director.start()
            node.wait_event(E.REPORT_DELIVERED, 40)
            node.wait_state(S.IDLE, times=2)
            assert len(director.reports) == 1


STATES = [S.DISCONNECTED, S.REGISTERED, S.IDLE, S.REVIEWING_PLAN, S.INSTALLING_REQUIREMENTS, S.TRAINING, S.REPORTING]

NOTICED = {E.DIRECTOR_LOST, E.REGISTRATION_FAILED, E.POLL_FAILED, E.REPORT_FAILED, E.HEALTH_MISSED}
"""Any of these tells that the agent has noticed the outage."""


@pytest.mark.parametrize("state", STATES, ids=str)
def test_B1_an_outage_in_each_state_ends_idle_or_with_the_experiment_done(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, gate = gated(tmp_path)
    reviewed = threading.Event()
    with SandboxDirector(period=1.0, reoffers=True) as director:
        address = director.address
        with Relay(address.host, address.port) as relay:
            hold = None
            if state is S.REGISTERED:
                hold = director.hold("UpdateEnvoyStatus", 1)
            elif state is S.DISCONNECTED:
                relay.cut()
            elif state is S.INSTALLING_REQUIREMENTS:
                monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "links"))
                data = slow_install(tmp_path / "links", data)
            elif state is S.REPORTING:
                director.offer("exp", archive("def run(*_):\n    raise ValueError('no')\n"), to=["node-1"])
                hold = director.hold("SetExperimentFailed", 1)
            settings = config(relay.address, tmp_path / "state")
            review = (lambda _n, _p: reviewed.wait(30)) if state is S.REVIEWING_PLAN else None
            with running(settings, review=review) as node:
                if state in {S.REVIEWING_PLAN, S.INSTALLING_REQUIREMENTS, S.TRAINING}:
                    director.offer("exp", data, to=["node-1"])
                node.wait_state(state, 30)
                relay.cut()
                lost = E.REGISTRATION_FAILED if state is S.DISCONNECTED else None
                node.wait(
                    lambda rs: any(
                        r.event
                        in {
                            lost,
                            E.DIRECTOR_LOST,
                            E.REGISTRATION_FAILED,
                            E.POLL_FAILED,
                            E.REPORT_FAILED,
                            E.HEALTH_MISSED,
                        }
                        for r in rs
                    )
                )
                if hold is not None:
                    hold.release()
                relay.restore()
                reviewed.set()
                gate.touch()
                if state is S.INSTALLING_REQUIREMENTS:
                    (tmp_path / "links" / "gate").touch()
                if state in {S.REVIEWING_PLAN, S.INSTALLING_REQUIREMENTS, S.TRAINING}:
                    node.wait_event(E.TRAINING_FINISHED, 40)
                    node.wait_event(E.REPORT_DELIVERED, 40)
                    director.finish("exp")
                if state is S.REPORTING:
                    node.wait_event(E.REPORT_DELIVERED, 40)
                node.wait(lambda _: node.node.snapshot.state is S.IDLE and node.node.snapshot.link_up, 40)
                assert node.count(E.TRAINING_FINISHED) <= 1


def slow_install(links: Path, data: bytes) -> bytes:
    """The same experiment with a requirement whose build waits for a file beside it."""
    import io
    import zipfile

    source = links / "slow-package"
    source.mkdir(parents=True)
    build = (
        "import pathlib, time\nfrom setuptools import setup\n"
        f"while not pathlib.Path({str(links / 'gate')!r}).exists(): time.sleep(0.05)\n"
        "setup(name='slow-package', version='1.0', py_modules=[])\n"
    )
    (source / "setup.py").write_text(build, encoding="utf-8")
    (source / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n", encoding="utf-8"
    )
    import tarfile

    with tarfile.open(links / "slow_package-1.0.tar.gz", "w:gz") as sdist:
        sdist.add(source, "slow_package-1.0")
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as zipped:
        zipped.writestr("requirements.txt", "slow-package==1.0\n")
    return buffer.getvalue()


def test_B12_a_half_open_link_is_noticed_by_missed_health_checks(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director:
        address = director.address
        with Relay(address.host, address.port) as relay, running(config(relay.address, tmp_path)) as node:
            node.wait_state(S.IDLE)
            relay.freeze()
            node.wait_event(E.DIRECTOR_LOST, 15)
            relay.cut()
            relay.restore()
            node.wait_state(S.IDLE, 30, times=2)


def test_B24_training_goes_on_while_the_director_is_away_and_is_reported_after(tmp_path: Path) -> None:
    data, gate = gated(tmp_path)
    with SandboxDirector(period=1.0) as director:
        director.offer("exp", data, to=["node-1"])
        with running(config(director.address, tmp_path / "state")) as node:
            node.wait_state(S.TRAINING)
            director.stop()
            node.wait_event(E.DIRECTOR_LOST)
            assert node.node.snapshot.state is S.TRAINING
            director.start()
            node.wait(lambda rs: sum(r.event is E.REGISTRATION_ACCEPTED for r in rs) == 2, 30)
            gate.touch()
            node.wait_event(E.REPORT_DELIVERED)
            assert node.count(E.TRAINING_FINISHED) == 1


def test_B47_a_run_that_a_restarted_director_does_not_offer_again_is_given_up(tmp_path: Path) -> None:
    data, _gate = gated(tmp_path)
    with SandboxDirector(period=1.0) as director:
        director.offer("exp", data, to=["node-1"])
        with running(config(director.address, tmp_path / "state", agent__orphan_timeout=2.0)) as node:
            node.wait_state(S.TRAINING)
            director.forget()
            node.wait_event(E.EXPERIMENT_ORPHANED)
            node.wait_state(S.IDLE, times=2)


def node_process(tmp_path: Path, port: int, *options: str) -> subprocess.Popen[str]:
    """A node as its own process, from the command line."""
    import os

    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "my_shard.py").write_text(
        (Path(__file__).parent.parent / "support" / "shards.py").read_text("utf-8"), "utf-8"
    )
    (home / "envoy_config.yaml").write_text(
        "shard_descriptor:\n  template: my_shard.NumbersShard\n  params: {rank: 2}\n"
        f"agent:\n  state_dir: {tmp_path / 'state'}\n  kill_grace: 2\n  sandbox: {{write: [..]}}\n",
        "utf-8",
    )
    command = [sys.executable, "-m", "fedenvoy", "start", "-n", "node-1", "-dh", "127.0.0.1", "-dp", str(port)]
    return subprocess.Popen(
        [*command, "--disable-tls", *options],
        cwd=home,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_B6_a_node_killed_in_training_is_offered_the_same_experiment_and_finishes_it(tmp_path: Path) -> None:
    data, gate = gated(tmp_path)
    started = tmp_path / "started"
    with SandboxDirector(period=1.0, reoffers=True) as director:
        director.offer("exp", data, to=["node-1"])
        first = node_process(tmp_path, director.address.port)
        wait_for_file(started)
        first.kill()
        first.communicate(timeout=10)
        started.unlink()
        second = node_process(tmp_path, director.address.port)
        wait_for_file(started)
        leftovers = list((tmp_path / "state").glob("*/runs/*"))
        assert len(leftovers) == 1, "only the present run has files"
        gate.touch()
        director.wait_for(lambda calls: any(is_idle_check(call) for call in calls[-3:]), 20)
        director.finish("exp")
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=20)
        assert second.returncode == 0


def is_idle_check(call: object) -> bool:
    return getattr(call, "method", "") == "UpdateEnvoyStatus" and not call.request.is_experiment_running  # type: ignore[attr-defined]


def wait_for_file(path: Path) -> None:
    """Wait for a file another process makes."""
    import time

    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.02)
