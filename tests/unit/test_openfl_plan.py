"""Where a plan has its aggregator: what OpenFL 1.6 said of each of these plans, recorded from the real one.

tests/interop asks it again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fedenvoy.engines.openfl import OpenflEngine
from fedenvoy.engines.openfl_plan import find_aggregator
from fedenvoy.ports import Aggregator, TalkingEngine

RECORDED: list[tuple[str, str, int]] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "openfl16-addresses.json").read_text(encoding="utf-8")
)
"""Plans as YAML, with the host and the port that OpenFL calls on a machine named site.example."""


def plan(**network: Any) -> dict[str, Any]:
    """Make a plan whose network section has these settings."""
    return {"aggregator": {"settings": {"rounds_to_train": 1}}, "network": {"settings": network}}


@pytest.mark.parametrize(("text", "host", "port"), RECORDED)
def test_what_a_plan_leaves_open_is_filled_in_as_openfl_does(text: str, host: str, port: int) -> None:
    given = yaml.safe_load(text)
    found = find_aggregator(given, lambda: "site.example")
    assert (found.host, found.port) == (host, port)
    assert given == yaml.safe_load(text), "the plan is left as it is"


def test_the_machine_s_name_is_asked_for_as_openfl_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FQDN", "told.example")
    found = find_aggregator(plan(agg_addr="auto", agg_port=1))
    assert found.host == "told.example"
    monkeypatch.delenv("FQDN")
    assert find_aggregator(plan(agg_addr="auto", agg_port=1)).host


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({"agg_addr": "a.b", "agg_port": "50051"}, Aggregator("a.b", 50051)),
        ({"agg_addr": "[::1]", "agg_port": 1, "tls": False}, Aggregator("::1", 1, tls=False)),
        (
            {"agg_addr": "10.0.0.1", "agg_port": 65535, "tls": True, "disable_client_auth": True},
            Aggregator("10.0.0.1", 65535, client_auth=False),
        ),
    ],
)
def test_what_a_plan_says_is_taken(network: dict[str, Any], expected: Aggregator) -> None:
    engine: object = OpenflEngine()
    assert isinstance(engine, TalkingEngine)
    found = engine.aggregator(plan(**network))
    assert found == expected
    assert str(found) == f"{network['agg_addr']}:{network['agg_port']}"


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"agg_port": 1}, "has no network.settings.agg_addr"),
        ({"agg_addr": "a"}, "has no network.settings.agg_port"),
        ({"agg_addr": "unix:/run/control.sock", "agg_port": 1}, "'unix:/run/control.sock', which is no name or add"),
        ({"agg_addr": "dns://1.1.1.1/a", "agg_port": 1}, "which is no name or address of a host"),
        ({"agg_addr": "a b", "agg_port": 1}, "which is no name or address of a host"),
        ({"agg_addr": "", "agg_port": 1}, "which is no name or address of a host"),
        ({"agg_addr": None, "agg_port": "http"}, "'http', which is no port"),
        ({"agg_addr": "a", "agg_port": 0}, "'0', which is no port"),
        ({"agg_addr": "a", "agg_port": 65536}, "'65536', which is no port"),
        ({"agg_addr": "a", "agg_port": [1]}, "'[1]', which is no port"),
        ({"agg_addr": "a", "agg_port": True}, "'True', which is no port"),
    ],
)
def test_what_is_no_address_is_refused_in_words(network: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"network\.settings") as refused:
        find_aggregator(plan(**network))
    assert words in str(refused.value)


def test_what_only_openfl_s_own_files_say_is_asked_of_the_plan() -> None:
    left = plan(agg_addr="a", agg_port="auto")
    left["tasks"] = {"defaults": "plan/defaults/tasks_torch.yaml"}
    with pytest.raises(ValueError, match=r"leaves network\.settings\.agg_port to OpenFL, and the section 'tasks' to"):
        find_aggregator(left)
    left["network"]["settings"]["agg_port"] = 1
    assert find_aggregator(left).port == 1
    left["network"]["defaults"] = "plan/defaults/network.yaml"
    with pytest.raises(ValueError, match="network section leaves settings to a file of OpenFL's"):
        find_aggregator(left)
    left["network"]["settings"].update(tls=False, disable_client_auth=False)
    assert find_aggregator(left) == Aggregator("a", 1, tls=False)


@pytest.mark.parametrize("broken", [{"network": []}, {"network": {"settings": []}}, {}])
def test_a_plan_of_another_shape_is_refused_in_words(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a mapping"):
        find_aggregator(broken)
