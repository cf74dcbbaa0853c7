"""The public class: the reference's signature, attributes and methods, against a real gRPC director."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from fedenvoy import Envoy
from fedenvoy.config import AgentSettings, GpuSettings, LinkSettings, SandboxSettings
from fedenvoy.errors import ConfigurationError, Exit
from fedenvoy.testing import SandboxDirector, ThrowawayAuthority
from support.agents import HOME
from support.archives import archive
from support.shards import NumbersShard

REFERENCE = {
    "shard_name": inspect.Parameter.empty,
    "director_host": inspect.Parameter.empty,
    "director_port": inspect.Parameter.empty,
    "shard_descriptor": inspect.Parameter.empty,
    "root_certificate": None,
    "private_key": None,
    "certificate": None,
    "tls": True,
    "install_requirements": True,
    "cuda_devices": (),
    "cuda_device_monitor": None,
    "review_plan_callback": None,
}
"""Parameters and defaults of OpenFL 1.6's class."""


def envoy(director: SandboxDirector, state: Path, kind: type[Envoy] = Envoy, **changes: Any) -> Envoy:
    agent = AgentSettings(home=HOME, state_dir=state, kill_grace=2.0, link=LinkSettings(call_timeout=3.0))
    if state.name == "state":
        agent = evolve(agent, sandbox=SandboxSettings(write=(state.parent,)))  # experiments wait for files there
    own = {key.removeprefix("agent__"): value for key, value in changes.items() if key.startswith("agent__")}
    rest = {key: value for key, value in changes.items() if not key.startswith("agent__")}
    fields: dict[str, Any] = {"tls": False, "shard_descriptor": NumbersShard()} | rest
    return kind(
        shard_name="node-1",
        director_host=director.address.host,
        director_port=director.address.port,
        agent=evolve(agent, **own),
        **fields,
    )


@contextmanager
def in_thread(work: Callable[[], None], stop: Callable[[], None]) -> Iterator[list[BaseException]]:
    """Run something in a thread that is not the main one, and end it."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield raised
    finally:
        stop()
        thread.join(20)
        assert not thread.is_alive()


def test_signature_is_the_reference_s_and_extensions_have_defaults() -> None:
    parameters = inspect.signature(Envoy).parameters
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())
    assert {name: p.default for name, p in parameters.items() if name in REFERENCE} == REFERENCE
    assert list(parameters)[: len(REFERENCE)] == list(REFERENCE)
    assert all(p.default is not inspect.Parameter.empty for name, p in parameters.items() if name not in REFERENCE)


def test_attributes_are_the_reference_s(tmp_path: Path) -> None:
    files = ThrowawayAuthority().issue("node-1").write(tmp_path, "node-1")
    with SandboxDirector() as director:
        node = envoy(
            director,
            tmp_path,
            tls=True,
            root_certificate=str(files.root_certificate),
            private_key=files.private_key,
            certificate=files.certificate,
            cuda_devices=[0],
        )
    assert node.name == "node-1"
    assert node.root_certificate == files.root_certificate.absolute()
    assert (node.private_key, node.certificate) == (files.private_key, files.certificate)
    assert node.cuda_devices == (0,)
    assert node.install_requirements is True
    assert node.running_experiments == {}
    assert node.is_experiment_running is False
    assert node._health_check_future is None
    assert isinstance(node.executor, ThreadPoolExecutor)
    node.executor.shutdown()
    for method in (
        "report_shard_info",
        "wait_experiment",
        "get_experiment_data",
        "set_experiment_failed",
        "send_health_check",
    ):
        assert callable(getattr(node.director_client, method))


def test_the_executor_holds_nothing_of_the_agent_s(tmp_path: Path) -> None:
    """The reference's holds an endless health loop, for which the interpreter waits at its end."""
    with SandboxDirector() as director:
        node = envoy(director, tmp_path)
        with in_thread(node.start, node.stop):
            director.wait_for_calls("UpdateEnvoyStatus")
            assert not node.executor._threads
            assert node.executor._work_queue.empty()
            assert node.executor.submit(lambda: "mine").result(10) == "mine"


def test_start_in_another_thread_runs_an_experiment_and_returns_after_stop(tmp_path: Path) -> None:
    code = "import pathlib, time\ndef run(*_):\n    while not pathlib.Path({!r}).exists(): time.sleep(0.05)\n"
    gate = tmp_path / "gate"
    with SandboxDirector(period=1.0) as director:
        node = envoy(director, tmp_path / "state")
        director.offer("exp", archive(code.format(str(gate))), to=["node-1"])
        with in_thread(node.start, node.stop) as raised:
            director.wait_for(lambda calls: any(running(call) for call in calls))
            assert node.is_experiment_running
            assert node.running_experiments == {"exp": {"state": "Training"}}
            gate.touch()
            director.wait_for(lambda calls: bool(calls) and calls[-1].method == "WaitExperiment")
        assert raised == []
        assert node._health_check_future is not None
        assert node._health_check_future.done()


def running(call: Any) -> bool:
    return bool(call.method == "UpdateEnvoyStatus" and call.request.is_experiment_running)


def test_twice_in_one_process_one_after_the_other(tmp_path: Path) -> None:
    with SandboxDirector() as director:
        node = envoy(director, tmp_path)
        for times in (1, 2):
            with in_thread(node.run, node.stop) as raised:
                director.wait_for_calls("WaitExperiment", times)
            assert raised == []


def test_a_failed_start_is_a_system_exit_with_the_documented_code(tmp_path: Path) -> None:
    with SandboxDirector(sample_shape=["9"], target_shape=["9"]) as director:
        node = envoy(director, tmp_path, agent__link=LinkSettings(on_refused="exit"))
        with in_thread(node.start, node.stop) as raised:
            director.wait_for_calls("UpdateShardInfo")
            assert node._health_check_future is not None
            node._health_check_future.result(10)
        (error,) = raised
        assert isinstance(error, SystemExit)
        assert error.code == Exit.REFUSED


def test_send_health_check_alone_keeps_the_node_shown_as_online(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as director:
        node = envoy(director, tmp_path)
        with in_thread(node.send_health_check, node.stop) as raised:
            director.wait_for_calls("UpdateEnvoyStatus", 2)
            assert len(director.calls_of("WaitExperiment")) == 1, "the director wants every node to have polled once"
            assert not director.calls_of("GetExperimentData")
        assert raised == []


def test_a_subclass_s_gpu_hook_is_honoured_and_may_hang(tmp_path: Path) -> None:
    asked = threading.Event()
    never = threading.Event()

    class Mine(Envoy):
        def _get_cuda_device_info(self) -> list[dict[str, Any]]:
            if asked.is_set():
                never.wait(30)
            asked.set()
            return [{"index": 0, "memory_total": 5, "memory_utilized": 2, "name": "mine"}]

    with SandboxDirector(period=1.0) as director:
        node = envoy(director, tmp_path, Mine, cuda_devices=(0,), agent__gpu=GpuSettings(interval=0.1))
        with in_thread(node.start, node.stop):
            director.wait_for(lambda calls: sum(named(call, "mine") for call in calls) >= 2)
            never.set()


def named(call: Any, name: str) -> bool:
    return call.method == "UpdateEnvoyStatus" and [d.name for d in call.request.cuda_devices] == [name]


def test_overriding_what_nothing_calls_is_refused_with_the_hook_to_use() -> None:
    with pytest.raises(TypeError, match="engine"):

        class Wrong(Envoy):
            def _run_collaborator(self) -> None: ...


@pytest.mark.parametrize("given", [{}, {"root_certificate": "no/such/file"}])
def test_B55_missing_certificates_are_named_together(tmp_path: Path, given: dict[str, str]) -> None:
    with SandboxDirector() as director, pytest.raises(ConfigurationError) as caught:
        envoy(director, tmp_path, Envoy, tls=True, **given)
    assert len(caught.value.problems) == 3


def test_the_director_client_speaks_for_code_written_around_the_reference(tmp_path: Path) -> None:
    with SandboxDirector(period=7.0) as director:
        node = envoy(director, tmp_path)
        client = node.director_client
        assert client.report_shard_info(NumbersShard(), ()) is True
        assert client.send_health_check(envoy_name="node-1", is_experiment_running=False) == 7.0
        data = archive()
        director.offer("exp", data, to=["node-1"])
        assert client.wait_experiment() == "exp"
        assert b"".join(chunk.npbytes for chunk in client.get_experiment_data("exp")) == data
        client.set_experiment_failed("exp", error_description="no")
        assert director.reports[0].error_description == "no"
        client.close()
