"""A real Prometheus over a real node: it scrapes it, and understands every rule and every panel that are published."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.config import HttpSettings
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import State
from support.agents import config, running

pytestmark = pytest.mark.monitoring

FILES = Path(__file__).resolve().parents[2] / "packaging" / "monitoring"
BOARD: dict[str, Any] = json.loads((FILES / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = [(panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel["targets"]]
DATA_LATER = {"Tries after a failure", "Experiments per hour, by verdict", "Certificate ends in"}
"""Panels over families that a node without a failure, an experiment or a certificate has no samples of."""


def program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed; Debian has it in the package `prometheus`"
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def watched(place: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes a node once a second, after it has seen it a few times."""
    ours, theirs = free_port(), free_port()
    shutil.copy(FILES / "fedenvoy.rules.yml", place)
    text = (FILES / "prometheus.yml").read_text(encoding="utf-8").replace("127.0.0.1:9464", f"127.0.0.1:{ours}")
    (place / "prometheus.yml").write_text(f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n{text}")
    command = [
        program("prometheus"),
        f"--config.file={place}/prometheus.yml",
        f"--storage.tsdb.path={place}/data",
        f"--web.listen-address=127.0.0.1:{theirs}",
    ]
    with SandboxDirector(period=1.0) as director:
        settings = config(director.address, place / "state", agent__http=HttpSettings(("127.0.0.1", ours)))
        with running(settings) as node, (place / "log").open("wb") as log:
            node.wait_state(State.IDLE)
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            address = f"http://127.0.0.1:{theirs}"
            try:
                wait(address, "count_over_time(fedenvoy_link_up[5m]) >= 3")
                yield address
            finally:
                process.terminate()
                process.wait(30)


def query(address: str, expression: str) -> list[dict[str, Any]]:
    asked = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{address}/api/v1/query?{asked}", timeout=20) as answer:
        told = json.load(answer)
    assert told["status"] == "success", told
    result: list[dict[str, Any]] = told["data"]["result"]
    return result


def wait(address: str, expression: str) -> None:
    """Wait until an expression is true of something."""
    deadline = time.monotonic() + 60
    while True:
        try:
            if query(address, expression):
                return
        except OSError:
            pass  # it does not listen yet
        assert time.monotonic() < deadline, f"{expression} never was true"
        time.sleep(0.2)


@pytest.mark.parametrize("kind", ["rules fedenvoy.rules.yml", "config prometheus.yml"])
def test_promtool_accepts_what_is_published(kind: str) -> None:
    command = [program("promtool"), "check", *kind.split()]
    done = subprocess.run(command, cwd=FILES, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_real_prometheus_reads_a_node_and_understands_what_is_published(tmp_path: Path) -> None:
    with watched(tmp_path) as prometheus:
        (found,) = query(prometheus, "last_over_time(fedenvoy_state[5m]) == 1")
        assert found["metric"]["fedenvoy_state"] == "Idle"
        lint(found["metric"]["instance"])
        for title, expression in PANELS:
            asked = expression.replace("$instance", ".*")
            if title in DATA_LATER:
                query(prometheus, asked)
            else:
                wait(prometheus, asked)
        with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=20) as answer:
            (group,) = json.load(answer)["data"]["groups"]
    assert len(group["rules"]) == 6
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
    assert not [rule["name"] for rule in group["rules"] if rule["state"] == "firing"]


def lint(instance: str) -> None:
    with urllib.request.urlopen(f"http://{instance}/metrics", timeout=20) as answer:
        text = answer.read()
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
