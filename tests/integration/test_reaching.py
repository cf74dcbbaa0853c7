"""What a confined experiment is given to reach its aggregator, and how what the relay finds becomes the run's end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from fedenvoy.app.reaching import SOCKET, reaching
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.config import TlsFiles
from fedenvoy.engines.callable import CallableEngine
from fedenvoy.engines.openfl import OpenflEngine
from fedenvoy.engines.process import ChildResult
from fedenvoy.ports import Confinement, RunSpec
from fedenvoy.testing import ThrowawayAuthority
from support.aggregators import aggregator, call

OWN = {"private_key": "key.pem"}
"""What a process that dials itself is given."""


class Given:
    """Stands in for an experiment's process: it keeps what it was given, and does as the test says."""

    def __init__(self, place: Path, port: int | str, *, files: TlsFiles | None = None, **network: Any) -> None:
        self.specs: list[RunSpec] = []
        self.engine: Any = OpenflEngine()
        self.cancel = Cancel()
        self.result = ChildResult(ok=True)
        self.calls: Callable[[Path, Cancel], None] = self.calls_until_answered
        self._place = place
        self._port = port
        self._tls = files
        settings = {"agg_addr": "localhost", "agg_port": port, "tls": files is not None, **network}
        self.plan: Mapping[str, Any] = {"network": {"settings": settings}}

    def run(self, level: str = "sandbox") -> ChildResult:
        """Run it at a level of isolation."""
        site: Any = SimpleNamespace(config=SimpleNamespace(tls=self._tls), environ={})
        run: Any = SimpleNamespace(engine=self.engine, files=SimpleNamespace(plan=self.plan))
        spec = RunSpec(
            run_dir=self._place,
            workspace=self._place,
            home=self._place,
            shard_name="node-1",
            shard={},
            tls=OWN,
            confinement=Confinement(level=level),
        )
        return reaching(site, run, spec, self.cancel, self._start)

    def _start(self, spec: RunSpec, cancel: Cancel) -> ChildResult:
        self.specs.append(spec)
        if spec.relay is not None:
            assert Path(spec.relay) == self._place / SOCKET
            self.calls(Path(spec.relay), cancel)
        return self.result

    def calls_until_answered(self, path: Path, cancel: Cancel) -> None:
        """Call the aggregator as a collaborator does: until it answers, or this process is ended."""
        assert isinstance(self._port, int)
        while not cancel.wait(0.1):
            with suppress(grpc.RpcError):
                assert call(path, self._port) == (b"node-1" if self._tls else b"nobody")
                return
        raise Cancelled


@pytest.fixture
def node(authority: ThrowawayAuthority, tmp_path: Path) -> TlsFiles:
    return authority.issue("node-1").write(tmp_path, "node")


@pytest.mark.parametrize("level", ["sandbox", "user"])
def test_a_confined_experiment_gets_a_socket_and_no_certificate(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path, level: str
) -> None:
    with aggregator(authority.issue("aggregator")) as port:
        given = Given(tmp_path, port, files=node)
        assert given.run(level).ok
    (spec,) = given.specs
    assert (spec.tls, spec.aggregator) == (None, f"localhost:{port}")
    assert not (tmp_path / SOCKET).exists()


def test_an_experiment_with_the_agent_s_rights_dials_itself(node: TlsFiles, tmp_path: Path) -> None:
    given = Given(tmp_path, 1, files=node)
    assert given.run("process").ok
    (spec,) = given.specs
    assert (spec.tls, spec.relay) == (OWN, None)


def test_an_experiment_of_an_engine_that_talks_to_nobody_gets_neither(node: TlsFiles, tmp_path: Path) -> None:
    given = Given(tmp_path, 1, files=node)
    given.engine = CallableEngine()
    assert given.run().ok
    (spec,) = given.specs
    assert (spec.tls, spec.relay) == (None, None)


def test_B57_an_aggregator_with_another_name_than_its_certificate_ends_the_process(
    authority: ThrowawayAuthority, node: TlsFiles, tmp_path: Path
) -> None:
    with aggregator(authority.issue("aggregator", ["agg.example"])) as port:
        given = Given(tmp_path, port, files=node)
        result = given.run()
    assert (result.ok, result.code, result.summary) == (False, "environment", result.error)
    assert result.error == (
        f"the aggregator at localhost:{port} shows a certificate made out for agg.example, and not for localhost: "
        f"the plan must name the aggregator as its certificate does"
    )
    assert not given.cancel.cancelled


def test_an_aggregator_that_answers_nothing_any_more_is_told_with_what_the_relay_saw(tmp_path: Path) -> None:
    given = Given(tmp_path, 1)
    given.result = ChildResult(ok=False, error="the aggregator has answered nothing", code="aggregator")

    def calls_once(path: Path, _cancel: Cancel) -> None:
        with pytest.raises(grpc.RpcError):
            call(path, 1)

    given.calls = calls_once
    result = given.run()
    words = "the aggregator at localhost:1 cannot be reached: Connection refused"
    assert (result.code, result.error) == ("aggregator", f"the aggregator has answered nothing; {words}")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"tls": True}, "expects TLS, and this node has no certificates"),
        ({"agg_addr": "unix:/run/x.sock"}, "which is no name or address of a host"),
    ],
)
def test_a_plan_whose_aggregator_cannot_be_called_from_here_does_not_begin(
    tmp_path: Path, network: dict[str, Any], words: str
) -> None:
    given = Given(tmp_path, 1, **network)
    result = given.run()
    assert (result.ok, result.code, given.specs) == (False, "environment", [])
    assert words in result.error


def test_a_run_whose_socket_cannot_be_made_does_not_begin(tmp_path: Path) -> None:
    given = Given(tmp_path / "nowhere", 1)
    result = given.run()
    assert (result.ok, result.code, given.specs) == (False, "environment", [])


def test_a_run_that_this_node_ends_is_cancelled(tmp_path: Path) -> None:
    given = Given(tmp_path, 1)

    def is_ended(_path: Path, cancel: Cancel) -> None:
        given.cancel.cancel()
        assert cancel.wait(20)
        raise Cancelled

    given.calls = is_ended
    with pytest.raises(Cancelled):
        given.run()
    assert not (tmp_path / SOCKET).exists()
