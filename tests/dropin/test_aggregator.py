"""B57, B58: an aggregator with another name than its certificate, and one that asks for no certificate.

A confined collaborator gets no certificates: there it is the agent's relay that finds out. It says the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dropin.collaborators import NETWORK, openfl_archive, stand_in
from dropin.experiments import Told
from fedenvoy.config import DirectorAddress, LinkSettings, NodeConfig, ReportSettings, SandboxSettings
from fedenvoy.testing import SandboxDirector, ThrowawayAuthority
from fedenvoy.testing.ports import listener
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.shards import NumbersShard


class Federation:
    """A node, its director, and one authority for all; experiments find the stand-in for OpenFL first.

    Attributes:
        authority: Who signs.
        director: The director.
        told: What the collaborator writes.
        level: How its process is isolated.

    """

    def __init__(
        self, authority: ThrowawayAuthority, director: SandboxDirector, told: Told, place: Path, level: str
    ) -> None:
        self.authority = authority
        self.level = level
        self.director = director
        self.told = told
        self._place = place
        self.node_ends_with()

    def node_ends_with(self, statement: str = "pass") -> None:
        """Set what a collaborator does when it has said what it was given."""
        stand_in(self._place / "home", self.told.path, then=statement)

    def config(self) -> NodeConfig:
        """Configure the node; it installs nothing."""
        return config(
            self.director.address,
            self._place / "state",
            shard=NumbersShard(),
            tls=self.authority.issue("node-1").write(self._place, "node-1"),
            install_requirements=False,
            agent__home=self._place / "home",
            agent__isolation=self.level,
            agent__report=ReportSettings(detail="full"),
            agent__sandbox=SandboxSettings(write=(self.told.path.parent,)),
        )

    def offer(self, aggregator: SandboxDirector, **more: Any) -> int:
        """Offer an experiment whose plan says where an aggregator is; give its port."""
        port = aggregator.address.port
        network = {**NETWORK, "agg_addr": "localhost", "agg_port": port, "tls": True, **more}
        self.director.offer("exp", openfl_archive(network), to=["node-1"])
        return port

    def given(self) -> dict[str, Any]:
        """Run the node until its experiment has ended well; give what the collaborator was given."""
        with running(self.config()) as node:
            given = json.loads(self.told.wait())
            node.wait_event(Event.TRAINING_FINISHED)
        assert not self.director.reports
        return dict(given)

    def failure(self) -> str:
        """Run the node until its experiment was reported as failed; give the report's text."""
        with running(self.config()) as node:
            node.wait_event(Event.REPORT_DELIVERED)
            assert node.node.snapshot.state is State.IDLE
        (report,) = self.director.reports
        return str(report.error_description)


@pytest.fixture
def level() -> str:
    """How experiments are isolated, where a test does not say."""
    return "sandbox"


@pytest.fixture
def federation(authority: ThrowawayAuthority, tmp_path: Path, level: str) -> Iterator[Federation]:
    with SandboxDirector(tls=authority.issue("director")) as director, Told(tmp_path / "pipe") as told:
        yield Federation(authority, director, told, tmp_path, level)


either_level = pytest.mark.parametrize("level", ["process", "sandbox"])
by_itself = pytest.mark.parametrize("level", ["process"])
"""Where the collaborator calls by itself; what the relay makes of such plans is in tests/integration/test_relay.py."""


@either_level
def test_B57_an_aggregator_with_another_name_than_its_certificate_fails_the_experiment(federation: Federation) -> None:
    federation.node_ends_with("raise AssertionError('it was called')")
    names = ["agg.example", "*.agg.example"]
    with SandboxDirector(tls=federation.authority.issue("aggregator", names)) as aggregator:
        port = federation.offer(aggregator)
        text = federation.failure()
    assert f"the aggregator at localhost:{port} shows a certificate made out for agg.example, *.agg.example," in text
    assert "and not for localhost: the plan must name the aggregator as its certificate does" in text


@pytest.mark.parametrize("who", ["stranger", "expired"])
def test_B57_an_aggregator_whose_certificate_is_not_accepted_fails_the_experiment(
    federation: Federation, who: str
) -> None:
    federation.node_ends_with("raise AssertionError('it was called')")
    other = ThrowawayAuthority("somebody else")
    pem = other.issue("a") if who == "stranger" else federation.authority.issue("a", expired=True)
    with SandboxDirector(tls=pem) as aggregator:
        port = federation.offer(aggregator)
        text = federation.failure()
    assert f"the aggregator at localhost:{port} shows a certificate that is not accepted here: " in text


@either_level
@pytest.mark.parametrize("names", [["localhost"], ["other", "LOCALHOST"], []])
def test_B57_an_aggregator_with_the_right_name_is_left_to_the_collaborator(
    federation: Federation, names: list[str]
) -> None:
    """Without alternative names the common name counts, as it does for gRPC."""
    with SandboxDirector(tls=federation.authority.issue("localhost", names)) as aggregator:
        federation.offer(aggregator)
        given = federation.given()["certificates"]
    confined = federation.level == "sandbox"
    assert given == ([None] * 3 if confined else ["node-1-root.pem", "node-1-key.pem", "node-1-cert.pem"])


@pytest.mark.parametrize("names", [["other"], []])
def test_B57_grpc_looks_at_the_same_names(authority: ThrowawayAuthority, tmp_path: Path, names: list[str]) -> None:
    """What the look before the collaborator takes for right or wrong, gRPC takes for right or wrong."""
    files = authority.issue("node-1").write(tmp_path, "node-1")
    with SandboxDirector(tls=authority.issue("localhost", names)) as director:
        address = DirectorAddress("localhost", director.address.port)
        settings = config(address, tmp_path / "state", tls=files, agent__link=LinkSettings(tries=1))
        with running(settings) as node:
            node.wait_event(Event.LINK_REJECTED if names else Event.REGISTRATION_ACCEPTED)


@pytest.mark.parametrize("name", ["localhost", "agg.example"])
def test_B57_an_aggregator_that_comes_late_is_looked_at_when_it_comes(federation: Federation, name: str) -> None:
    with SandboxDirector(tls=federation.authority.issue("aggregator", [name])) as aggregator:
        aggregator.stop()
        federation.offer(aggregator)
        with listener("127.0.0.1", aggregator.address.port) as not_yet, running(federation.config()) as node:
            not_yet.settimeout(20)
            not_yet.accept()[0].close()
            not_yet.close()
            aggregator.start()
            if name == "localhost":
                federation.told.wait()
                node.wait_event(Event.TRAINING_FINISHED)
            else:
                node.wait_event(Event.REPORT_DELIVERED)
                assert "made out for agg.example" in federation.director.reports[0].error_description


@by_itself
@pytest.mark.parametrize("disabled", [True, False])
def test_B58_disabled_client_authentication_reaches_the_collaborator_unchanged(
    federation: Federation, disabled: bool
) -> None:
    with SandboxDirector(tls=federation.authority.issue("localhost")) as aggregator:
        port = federation.offer(aggregator, disable_client_auth=disabled)
        network = federation.given()["network"]
    assert network == {"agg_addr": "localhost", "agg_port": port, "tls": True, "disable_client_auth": disabled}


@by_itself
def test_B58_what_the_collaborator_makes_of_it_is_reported(federation: Federation) -> None:
    federation.node_ends_with("raise LookupError('no common name in the peer certificate')")
    with SandboxDirector(tls=federation.authority.issue("localhost")) as aggregator:
        federation.offer(aggregator, disable_client_auth=True)
        assert "LookupError: no common name in the peer certificate" in federation.failure()


def test_a_plan_without_encryption_is_not_looked_at(federation: Federation) -> None:
    with SandboxDirector(tls=federation.authority.issue("aggregator", ["agg.example"])) as aggregator:
        federation.offer(aggregator, tls=False)
        assert federation.given()["network"]["tls"] is False
