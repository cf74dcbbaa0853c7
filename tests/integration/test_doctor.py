"""`fedenvoy doctor`: each thing that keeps a node from working is named, with what to do; a good node has nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from fedenvoy.cli import cli
from fedenvoy.config import TlsFiles
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector, ThrowawayAuthority

Doctor = Callable[..., Result]

SHARD = """
class Shard:
    sample_shape = ["8"]
    target_shape = ["1"]
    dataset_description = "numbers"
    def get_dataset(self, dataset_type): return []
"""


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """A node's directory to be in, and the command with what all cases share."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "doctors_shard.py").write_text(SHARD)
    (home / "envoy_config.yaml").write_text(
        f"shard_descriptor: {{template: doctors_shard.Shard}}\nagent: {{state_dir: {tmp_path / 'state'}, "
        "review: {mode: accept}}\n"
    )
    monkeypatch.chdir(home)
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def examine(
        port: int, *more: str, tls: TlsFiles | None = None, host: str = "127.0.0.1", shard: bool = False
    ) -> Result:
        files = ["--disable-tls"]
        if tls is not None:
            files = ["-rc", str(tls.root_certificate), "-pk", str(tls.private_key), "-oc", str(tls.certificate)]
        arguments = ["doctor", "-n", "one", "-dh", host, "-dp", str(port), "--timeout", "5", *files, *more]
        if not shard:
            arguments.append("--no-shard")
        return CliRunner().invoke(cli, arguments)

    return examine


def faults(result: Result) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in result.stdout.splitlines() if line.startswith("FAULT")]


def warnings(result: Result) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in result.stdout.splitlines() if line.startswith("WARNING")]


@contextmanager
def serving(*handlers: Any) -> Iterator[int]:
    """A gRPC server that is no director of OpenFL 1.6."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=list(handlers))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait(10)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_good_node_has_no_fault_and_is_not_registered(doctor: Doctor) -> None:
    with SandboxDirector(sample_shape=["8"], target_shape=["1"]) as director:
        result = doctor(director.address.port, shard=True)
        assert not director.nodes
    assert result.exit_code == Exit.OK
    assert not faults(result)
    assert "they are the ones that the director wants" in result.stdout
    assert "OpenFL 1.5 - 1.6, as this node does" in result.stdout
    assert warnings(result) == ["TLS            the link is not encrypted, and the director does not ask for it"]


def test_a_good_node_with_certificates_has_no_warning(
    doctor: Doctor, authority: ThrowawayAuthority, files: TlsFiles
) -> None:
    with SandboxDirector(tls=authority.issue("director"), sample_shape=["8"], target_shape=["1"]) as director:
        result = doctor(director.address.port, tls=files, host="localhost")
    assert result.exit_code == Exit.OK, result.stdout
    # Throwaway certificates live for a day; and localhost may have a second address where nobody listens.
    assert all("soon" in line or "have it renewed" in line or "::1" in line for line in warnings(result))
    assert "made out for 'one', the shard's name" in result.stdout


def test_a_site_whose_person_is_asked_at_the_terminal_is_not_at_fault(doctor: Doctor) -> None:
    path = Path("envoy_config.yaml")
    path.write_text(path.read_text().replace("{mode: accept}", "{mode: prompt}"))
    with SandboxDirector() as director:
        result = doctor(director.address.port, shard=True)
    assert result.exit_code == Exit.OK, result.stdout
    assert "experiments run at the level" in result.stdout


def test_what_installs_requirements_is_looked_for_where_something_is_installed(doctor: Doctor) -> None:
    path = Path("envoy_config.yaml")
    assert "requirements are installed by uv" in doctor(closed_port()).stdout
    path.write_text(path.read_text().replace("review:", "requirements: {mode: off}, review:"))
    assert "uv" not in doctor(closed_port()).stdout


def test_B4_shapes_that_the_director_does_not_want_are_both_shown(doctor: Doctor) -> None:
    with SandboxDirector(sample_shape=["8"], target_shape=["2"]) as director:
        result = doctor(director.address.port, shard=True)
    assert result.exit_code == Exit.REFUSED
    (fault,) = faults(result)
    assert "targets of [1] where it wants [2]" in fault


def test_a_descriptor_that_fails_is_the_shard_s_fault_and_the_rest_is_still_looked_at(doctor: Doctor) -> None:
    Path("doctors_shard.py").write_text("raise OSError('no such disk')\n")
    with SandboxDirector() as director:
        result = doctor(director.address.port, shard=True)
        assert result.exit_code == Exit.SHARD
        assert "no such disk" in faults(result)[0]
        assert "as this node does" in result.stdout
        assert doctor(director.address.port).exit_code == Exit.OK


def test_B63_a_name_without_an_address(doctor: Doctor) -> None:
    result = doctor(1, host="no-such-director.invalid")
    assert result.exit_code == Exit.LINK
    assert "has no address here" in faults(result)[0]


def test_nobody_at_the_port(doctor: Doctor) -> None:
    result = doctor(closed_port())
    assert result.exit_code == Exit.LINK
    assert faults(result)[0].endswith("; nothing listens there")


def test_B62_a_proxy_that_would_take_the_call_is_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy.example:3128")
    monkeypatch.delenv("no_grpc_proxy")
    result = doctor(closed_port(), host="director.example")
    assert "through the proxy proxy.example:3128 (http_proxy)" in warnings(result)[0]
    assert "secret" not in result.stdout


def test_B56_each_thing_wrong_with_certificates_is_told_with_its_name_or_date(
    doctor: Doctor, authority: ThrowawayAuthority, files: TlsFiles, tmp_path: Path
) -> None:
    stranger = ThrowawayAuthority("somebody else")
    with SandboxDirector(tls=stranger.issue("director")) as director:
        assert "its certificate is not accepted here" in faults(doctor(director.address.port, tls=files))[0]
    with SandboxDirector(tls=authority.issue("director", ["elsewhere.example"])) as director:
        assert "made out for elsewhere.example" in faults(doctor(director.address.port, tls=files))[0]
    with SandboxDirector(tls=authority.issue("director")) as director:
        expired = authority.issue("one", expired=True).write(tmp_path, "expired")
        told = faults(doctor(director.address.port, tls=expired))
        assert "expired on 20" in told[0]
        other = authority.issue("two").write(tmp_path, "two")
        told = faults(doctor(director.address.port, tls=other))
        assert "made out for 'two', and the shard is called 'one'" in told[0]
        foreign = stranger.issue("one").write(tmp_path, "foreign")
        mixed = TlsFiles(files.root_certificate, foreign.private_key, foreign.certificate)
        result = doctor(director.address.port, tls=mixed)
        assert any("the director will not accept it" in line for line in warnings(result))
        assert result.exit_code == Exit.LINK
        assert "it expects TLS, and TLS is off here" in faults(doctor(director.address.port))[0]
    with SandboxDirector() as director:
        assert "it answers in plain text" in faults(doctor(director.address.port, tls=files))[0]


def test_unusable_certificates_do_not_keep_the_rest_from_being_looked_at(doctor: Doctor, files: TlsFiles) -> None:
    files.private_key.write_text("no key")
    with SandboxDirector() as director:
        result = doctor(director.address.port, tls=files, shard=True)
    assert result.exit_code == Exit.CONFIGURATION
    assert "private_key" in faults(result)[0]
    assert "answers within" in result.stdout
    assert "the shard descriptor gives samples of [8]" in result.stdout


def test_a_director_of_the_workflow_api_and_a_server_of_something_else(doctor: Doctor) -> None:
    answer: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
        lambda _request, _context: b"\n\x03one"
    )
    service = "openfl.experimental.workflow.director.Director"
    with serving(grpc.method_handlers_generic_handler(service, {"GetEnvoys": answer})) as port:
        result = doctor(port)
    assert result.exit_code == Exit.LINK
    assert "OpenFL 1.7 - 1.9 (workflow API), which this node does not" in faults(result)[0]
    with serving() as port:
        assert "no director of OpenFL" in faults(doctor(port))[0]


def test_every_problem_of_a_configuration_is_a_fault(doctor: Doctor) -> None:
    Path("envoy_config.yaml").write_text("shard_descriptor: {}\nagent: {nonsense: 1}\n")
    result = doctor(closed_port())
    assert result.exit_code == Exit.CONFIGURATION
    assert len(faults(result)) == 2


def test_a_state_directory_that_cannot_be_is_a_fault(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with SandboxDirector() as director:
        result = doctor(director.address.port)
    assert result.exit_code == Exit.STORE
    assert str(tmp_path / "state") in faults(result)[0]


def test_json_for_programs(doctor: Doctor) -> None:
    result = doctor(closed_port(), "--json")
    told = json.loads(result.stdout)
    assert (told["worst"], told["exit"]) == ("fault", Exit.LINK)
    assert {"subject": "connection", "level": "fault"}.items() <= told["findings"][-1].items()


def test_without_the_director_s_address_it_says_what_it_needs(doctor: Doctor) -> None:
    result = CliRunner().invoke(cli, ["doctor", "--disable-tls"])
    assert result.exit_code == Exit.USAGE
    assert "-dh HOST -dp PORT" in result.stderr
