"""B60, B62, B63: what a director may be called by, really called; names that come late or move; proxies on the way."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from dropin.names import NameServer
from dropin.programs import Place, start_command
from fedenvoy.config import DirectorAddress, LinkSettings
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector, ThrowawayAuthority
from fedenvoy_statecharts import State
from support.agents import config, running
from support.archives import archive


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address")


def start_and_stop(place: Place, director: SandboxDirector, host: str) -> str:
    """Start a node that calls its director by a name, until it is idle; give what it printed."""
    with place.running(*start_command(director.address.port, host=host)) as node:
        node.wait_for("--health_checked--> Idle")
        assert node.stop() == Exit.OK
        return node.output


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_B60_a_director_of_this_machine_is_called(place: Place, host: str) -> None:
    with SandboxDirector() as director:
        printed = start_and_stop(place, director, host)
        assert f"dialling the director at {host}:{director.address.port}" in printed


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_B60_an_ipv6_address_is_called_with_or_without_brackets(place: Place, host: str) -> None:
    with SandboxDirector(host="::1") as director:
        assert f"dialling the director at [::1]:{director.address.port}" in start_and_stop(place, director, host)


@needs_ipv6
def test_B60_an_ipv6_director_with_tls_is_called_and_a_wrong_name_told(tmp_path: Path) -> None:
    authority = ThrowawayAuthority()
    files = authority.issue("node-1").write(tmp_path, "node-1")
    for names, ends in ((["::1"], False), (["director.example"], True)):
        with SandboxDirector(host="::1", tls=authority.issue("director", names)) as director:
            address = DirectorAddress("::1", director.address.port)
            settings = config(address, tmp_path / "state", tls=files, agent__link=LinkSettings(tries=1))
            with running(settings) as node:
                if ends:
                    assert node.join() is Exit.LINK
                    assert "made out for director.example, and not for ::1" in node.records[-1].cause
                else:
                    node.wait_state(State.IDLE)


@pytest.mark.parametrize("name", ["director_1", "d", "director.", "a-b.c_d"])
def test_B60_names_that_openfl_refuses_are_called(tmp_path: Path, name: str) -> None:
    """Asked for at a name server of the test's own, which is the one thing that a name needs."""
    with SandboxDirector() as director, NameServer() as names:
        names.addresses[name.rstrip(".")] = "127.0.0.1"
        address = DirectorAddress(names.host(name), director.address.port)
        with running(config(address, tmp_path)) as node:
            node.wait_state(State.IDLE)
        assert set(names.asked) == {name.rstrip(".")}


def test_B63_a_name_may_come_after_the_start(tmp_path: Path) -> None:
    with SandboxDirector() as director, NameServer() as names:
        address = DirectorAddress(names.host("director_1"), director.address.port)
        with running(config(address, tmp_path)) as node:
            unknown = f"the director at {address} cannot be reached: "
            node.wait(lambda records: sum(unknown in record.cause for record in records) >= 3)
            names.addresses["director_1"] = "127.0.0.1"
            node.wait_state(State.IDLE)


def test_B63_a_name_may_move_to_another_address_while_the_node_is_connected(tmp_path: Path) -> None:
    with SandboxDirector(period=1.0) as old, NameServer(director="127.0.0.1") as names:
        address = DirectorAddress(names.host("director"), old.address.port)
        with running(config(address, tmp_path)) as node:
            node.wait_state(State.IDLE)
            with SandboxDirector(host="127.0.0.2", port=old.address.port) as new:
                names.addresses["director"] = "127.0.0.2"
                old.stop()
                new.wait_for_calls("WaitExperiment", timeout=30)
                assert node.stop() is Exit.OK


@pytest.fixture
def proxied(place: Place) -> Place:
    """Surroundings with a proxy that nobody serves, and no exception from it."""
    for name in list(place.environment):
        if name.lower().endswith("_proxy"):
            del place.environment[name]
    place.environment["http_proxy"] = "http://user:secret@127.0.0.1:9"
    return place


def test_B62_the_start_says_which_proxy_stands_in_the_way(proxied: Place) -> None:
    with SandboxDirector() as director:
        with proxied.running(*start_command(director.address.port)) as node:
            told = node.wait_for("--registration_failed-->")
            assert f"127.0.0.1:{director.address.port} is called through the proxy 127.0.0.1:9 (http_proxy)" in told
            assert "unless agent.link.proxy is false" in told
            assert "secret" not in told
            assert node.stop() == Exit.OK
        assert not director.calls


@pytest.mark.parametrize("way", ["setting", "exception"])
def test_B62_a_proxy_is_gone_round_and_experiments_still_see_it(proxied: Place, way: str) -> None:
    """What installs an experiment's packages needs the proxy all the same."""
    if way == "setting":
        with (proxied.home / "envoy_config.yaml").open("a", encoding="utf-8") as file:
            file.write("agent: {link: {proxy: false}}\n")
    else:
        proxied.environment["no_proxy"] = "example.org, 127.0.0.1"
    code = "import os\ndef run(*_):\n    return {'seen': os.environ['http_proxy'].endswith('@127.0.0.1:9')}\n"
    with SandboxDirector() as director:
        director.offer("exp", archive(code), to=["site_1"])
        with proxied.running(*start_command(director.address.port)) as node:
            told = node.wait_for("--training_finished--> Reporting experiment='exp' cause=seen=1")
            assert "is called directly: " in told
            assert node.stop() == Exit.OK
