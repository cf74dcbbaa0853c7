"""What monitoring systems ask a real node over HTTP: its numbers, whether it lives, whether it is ready, its status."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fedenvoy.app import web
from fedenvoy.config import HttpSettings, NodeConfig
from fedenvoy.devices import DeviceState, GpuReport
from fedenvoy.errors import ConfigurationError, Exit
from fedenvoy.events import DeviceReading
from fedenvoy.testing import SandboxDirector
from fedenvoy.web import gpus
from fedenvoy_statecharts import State
from prometheus_client.parser import text_string_to_metric_families
from support.agents import RunningNode, config, running

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def director() -> Iterator[SandboxDirector]:
    with SandboxDirector(period=1.0) as director:
        yield director


@pytest.fixture
def settings(director: SandboxDirector, port: int, tmp_path: Path) -> NodeConfig:
    return config(director.address, tmp_path, agent__http=HttpSettings(("127.0.0.1", port)))


def ask(port: int, path: str, *, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def numbers(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    status, text = ask(port, "/metrics")
    assert status == 200
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}


def value(port: int, name: str, **labels: str) -> float:
    return numbers(port)[name, frozenset(labels.items())]


def wait_ready(port: int, status: int) -> str:
    deadline = time.monotonic() + 30
    while True:
        found, text = ask(port, "/readyz")
        if found == status:
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


def test_the_numbers_of_a_node_that_waits_for_work(settings: NodeConfig, port: int) -> None:
    with running(settings) as node:
        node.wait_state(State.IDLE)
        found = numbers(port)
        assert found["fedenvoy_state", frozenset({("fedenvoy_state", "Idle")})] == 1
        assert sum(number for (name, _), number in found.items() if name == "fedenvoy_state") == 1
        assert found["fedenvoy_link_up", frozenset()] == 1
        step = {"event": "registration_accepted", "source": "Disconnected", "target": "Registered"}
        assert found["fedenvoy_transitions_total", frozenset(step.items())] == 1
        assert found["fedenvoy_health_check_latency_seconds_count", frozenset()] >= 1
        assert found["fedenvoy_outbox_reports", frozenset()] == 0
        assert abs(found["fedenvoy_last_contact_timestamp_seconds", frozenset()] - time.time()) < 30
        assert any(name == "fedenvoy_info" and ("shard", "node-1") in labels for name, labels in found)


def test_docs_metrics_lists_exactly_the_families_there_are(settings: NodeConfig, port: int) -> None:
    with running(settings) as node:
        node.wait_state(State.IDLE)
        _, text = ask(port, "/metrics")
    there = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    listed = set(re.findall(r"^\| `(fedenvoy\w*)", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert there == {name for name in listed if not name.startswith("fedenvoy_gpu_")}


def test_each_gpu_family_is_listed_and_what_a_gpu_does_not_tell_has_no_sample() -> None:
    told = DeviceState(0, DeviceReading(0, memory_total=100, memory_utilized=40, name="A"), utilization=37, lost=False)
    report = GpuReport(devices=(told, DeviceState("GPU-1", DeviceReading(1))), age=2.0)
    found = {family.name: family for family in gpus.families(report)}
    page = DOCS.read_text(encoding="utf-8")
    for name in found:
        assert (
            name in page or name.replace("memory_used", "memory_total").replace("memory_free", "memory_total") in page
        )
    assert [sample.value for sample in found["fedenvoy_gpu_utilization_ratio"].samples] == [0.37]
    assert [sample.labels["gpu"] for sample in found["fedenvoy_gpu_memory_used_bytes"].samples] == ["0"]
    assert [sample.value for sample in found["fedenvoy_gpu_lost"].samples] == [0, 0]
    assert not found["fedenvoy_gpu_temperature_celsius"].samples
    assert not list(gpus.families(GpuReport()))


def test_ready_while_the_director_is_reached_and_not_before_or_after(
    settings: NodeConfig, director: SandboxDirector, port: int
) -> None:
    with running(settings) as node:
        node.wait_state(State.IDLE)
        assert wait_ready(port, 200) == "ready: Idle\n"
        director.stop()
        assert "the director must have been reached within 2 s" in wait_ready(port, 503)
        assert ask(port, "/healthz") == (200, "ok\n")
        director.start()
        wait_ready(port, 200)


def test_an_owner_that_hangs_is_not_healthy(settings: NodeConfig, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(web, "STUCK", 0.2)
    node = RunningNode(settings)
    observe, node.node._observe = node.node._observe, lambda record: (observe(record), go_on.wait(30))[0]
    node.start()
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                status, text = ask(port, "/healthz")
            except ConnectionRefusedError:
                status, text = 0, ""
            if status == 503:
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert text.startswith("the owner thread has been at one step")
    finally:
        go_on.set()
        node.node.abort()
        node.join()


def test_the_status_is_the_command_s(settings: NodeConfig, port: int) -> None:
    with running(settings) as node:
        node.wait_state(State.IDLE)
        status, text = ask(port, "/status.json")
    told = json.loads(text)
    assert status == 200
    assert (told["state"], told["node"]["shard_name"], told["problems"]) == ("Idle", "node-1", [])


def test_what_is_asked_wrongly_gets_its_answer(settings: NodeConfig, port: int) -> None:
    with running(settings) as node:
        node.wait_state(State.IDLE)
        status, text = ask(port, "/nothing")
        assert status == 404
        assert "/metrics" in text
        assert ask(port, "/healthz?verbose=1")[0] == 200
        assert ask(port, "/healthz", method="POST")[0] == 501
        assert ask(port, "/healthz", method="HEAD") == (200, "")
        # A browser that was led here under a name of somebody else's must not read what a node does.
        assert ask(port, "/status.json", host="evil.example")[0] == 403
        assert ask(port, "/healthz", host=f"localhost:{port}")[0] == 200
        assert ask(port, "/healthz", host=f"[::1]:{port}")[0] == 200


def test_clients_that_say_nothing_keep_nobody_waiting(settings: NodeConfig, port: int) -> None:
    with running(settings) as node:
        node.wait_state(State.IDLE)
        silent = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(20)]
        try:
            assert ask(port, "/healthz")[0] == 200
        finally:
            for connection in silent:
                connection.close()


def test_a_port_that_is_taken_ends_the_start_in_one_sentence(settings: NodeConfig, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        node = RunningNode(settings).start()
        with pytest.raises(ConfigurationError, match=rf"nobody can listen at 127\.0\.0\.1 port {port}") as caught:
            node.join()
    assert caught.value.exit_code is Exit.CONFIGURATION


def test_nothing_of_it_is_loaded_where_nobody_listens() -> None:
    code = (
        "import sys, fedenvoy.app, fedenvoy.configfile.agent_section;"
        "assert not {'prometheus_client', 'http.server', 'fedenvoy.web'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
