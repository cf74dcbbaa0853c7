"""B55, B56: certificates that are missing or wrong are named at the start; those the other side minds, at the link."""

from __future__ import annotations

import itertools
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from dropin.programs import Place, start_command
from fedenvoy.cli import cli
from fedenvoy.config import TlsFiles
from fedenvoy.errors import ConfigurationError, Exit
from fedenvoy.testing import Pem, SandboxDirector, ThrowawayAuthority
from fedenvoy_statecharts import Event, State
from integration.test_envoy_class import envoy
from support.agents import config, running

NAMES = ("root_certificate", "private_key", "certificate")
OPTIONS = dict(zip(NAMES, ("-rc", "-pk", "-oc"), strict=True))
COMBINATIONS = list(itertools.product([True, False], repeat=3))


@pytest.fixture(scope="module")
def stranger() -> ThrowawayAuthority:
    return ThrowawayAuthority("somebody else")


@pytest.fixture
def files(authority: ThrowawayAuthority, tmp_path: Path) -> dict[str, Any]:
    """This node's three files, by the name of the setting."""
    written = authority.issue("node-1").write(tmp_path, "node-1")
    return {name: getattr(written, name) for name in NAMES}


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("given", COMBINATIONS)
def test_B55_every_combination_of_the_class_s_arguments(
    files: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, tls: bool, given: tuple[bool, ...]
) -> None:
    paths: dict[str, Any] = {name: files[name] for name, wanted in zip(NAMES, given, strict=True) if wanted}
    missing = [name for name in NAMES if name not in paths]
    with SandboxDirector() as director:
        if tls and missing:
            with pytest.raises(ConfigurationError) as caught:
                envoy(director, tmp_path, tls=True, **paths)
            assert [problem.partition(":")[0] for problem in caught.value.problems] == missing
            return
        with caplog.at_level(logging.WARNING):
            node = envoy(director, tmp_path, tls=tls, **paths)
    assert [getattr(node, name) for name in NAMES] == [paths.get(name) for name in NAMES]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (0 if tls or not paths else 1)
    assert all(name in told[0] for name in paths if not tls)


@pytest.mark.parametrize("tls", ["--tls", "--disable-tls"])
@pytest.mark.parametrize("given", COMBINATIONS)
def test_B55_every_combination_on_the_command_line(
    place: Place, files: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tls: str, given: tuple[bool, ...]
) -> None:
    monkeypatch.chdir(place.home)
    chosen = [name for name, wanted in zip(NAMES, given, strict=True) if wanted]
    words = [word for name in chosen for word in (OPTIONS[name], str(files[name]))]
    result = CliRunner().invoke(cli, ["check", tls, *words])
    missing = [name for name in NAMES if name not in chosen] if tls == "--tls" else []
    assert result.exit_code == (Exit.CONFIGURATION if missing else Exit.OK)
    lines = [line for line in result.output.splitlines() if line.startswith("fedenvoy: error: ")]
    assert [line.split(": ")[2] for line in lines] == missing
    assert all("missing: TLS needs" in line and "--disable-tls" in line for line in lines)
    warned = "TLS is off, so " in result.output
    assert warned == (tls == "--disable-tls" and bool(chosen))


def _directory(path: Path) -> Path:
    path.unlink()
    path.mkdir()
    return path


def _below_a_file(path: Path) -> Path:
    return path / "key.pem"


def _empty(path: Path) -> Path:
    path.write_text("", encoding="utf-8")
    return path


def _der(path: Path) -> Path:
    content = path.read_bytes()
    if b"PRIVATE" in content:
        key = serialization.load_pem_private_key(content, None)
        der, pkcs8, plain = (
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.write_bytes(key.private_bytes(der, pkcs8, plain))
    else:
        path.write_bytes(ssl.PEM_cert_to_DER_cert(content.decode("ascii")))
    return path


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_directory, "expected a PEM file, but this is a directory"),
        (_below_a_file, "no such file"),
        (_empty, "the file is empty"),
        (_der, "looks like DER"),
    ],
)
@pytest.mark.parametrize("wrong", [("private_key",), ("root_certificate", "certificate"), NAMES])
def test_B55_one_message_names_every_wrong_file(
    place: Place, files: dict[str, Any], spoil: Callable[[Path], Path], sentence: str, wrong: tuple[str, ...]
) -> None:
    paths: dict[str, Any] = {name: spoil(path) if name in wrong else path for name, path in files.items()}
    command = [word for word in start_command(50051) if word != "--disable-tls"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.home)
        options = [word for name, path in paths.items() for word in (OPTIONS[name], str(path))]
        result = CliRunner().invoke(cli, [*command[1:], *options])
    assert result.exit_code == Exit.CONFIGURATION
    lines = [line for line in result.output.splitlines() if line.startswith("fedenvoy: error: ")]
    assert [line.partition(f"{paths[name]}: ")[0] for name, line in zip(wrong, lines, strict=True)] == [
        f"fedenvoy: error: {name}: " for name in wrong
    ]
    assert all(sentence in line for line in lines)
    with SandboxDirector() as director, pytest.raises(ConfigurationError) as caught:
        envoy(director, place.state, tls=True, **paths)
    assert [f"fedenvoy: error: {problem}" for problem in caught.value.problems] == lines


def test_B55_a_key_of_another_certificate_is_named_before_anything_is_called(
    place: Place, files: dict[str, Any], authority: ThrowawayAuthority
) -> None:
    files["private_key"].write_bytes(authority.issue("node-1").private_key)
    with SandboxDirector() as director, pytest.raises(ConfigurationError) as caught:
        envoy(director, place.state, tls=True, **files)
    (problem,) = caught.value.problems
    assert problem == f"private_key: {files['private_key']}: does not belong to the certificate {files['certificate']}"


def _run(place: Place, director: SandboxDirector, files: TlsFiles) -> tuple[int, str]:
    """Start a node that tries twice."""
    text = (place.home / "envoy_config.yaml").read_text(encoding="utf-8")
    place.write("envoy_config.yaml", text + "agent: {link: {tries: 2}}\n")
    command = [word for word in start_command(director.address.port, name="node-1") if word != "--disable-tls"]
    options = [word for name in NAMES for word in (OPTIONS[name], str(getattr(files, name)))]
    return place.run(*command, *options)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("expired", "certificate has expired"),
        ("other name", "made out for director.example, and not for 127.0.0.1"),
        ("other authority", "is not accepted here"),
        ("plain text", "plain text"),
        ("node expired", "does not accept this node's certificate"),
        ("node of a stranger", "does not accept this node's certificate"),
    ],
)
def test_B56_what_the_two_sides_mind_is_a_rejection_in_words(
    place: Place, authority: ThrowawayAuthority, stranger: ThrowawayAuthority, fault: str, sentence: str
) -> None:
    server: Pem | None = {
        "expired": authority.issue("director", expired=True),
        "other name": authority.issue("director", ["director.example"]),
        "other authority": stranger.issue("director"),
        "plain text": None,
    }.get(fault, authority.issue("director"))
    node = authority.issue("node-1", expired=fault == "node expired")
    if fault == "node of a stranger":
        theirs = stranger.issue("node-1")
        node = Pem(node.root_certificate, theirs.private_key, theirs.certificate)
    with SandboxDirector(tls=server) as director:
        code, printed = _run(place, director, node.write(place.home, "node-1"))
        assert not director.calls
        address = director.address
    assert code == Exit.LINK
    last = printed.splitlines()[-1]
    assert f"TLS with the director at {address} failed: " in last
    assert sentence in last
    assert last.endswith("(exit code 6)")
    assert printed.count("dialling the director") == 2
    assert "Traceback" not in printed


def test_B56_the_neighbour_right_certificates_are_no_rejection(place: Place, authority: ThrowawayAuthority) -> None:
    with SandboxDirector(tls=authority.issue("director")) as director:
        settings = config(director.address, place.state, tls=authority.issue("node-1").write(place.home, "node-1"))
        with running(settings) as node:
            node.wait_state(State.IDLE)
            assert node.count(Event.LINK_REJECTED) == 0


def test_B56_the_class_ends_in_the_same_code(
    tmp_path: Path, files: dict[str, Any], authority: ThrowawayAuthority
) -> None:
    with SandboxDirector(tls=authority.issue("director", expired=True)) as director:
        node = envoy(director, tmp_path / "state", tls=True, **files)
        with pytest.raises(SystemExit) as ended:
            node.start()
    assert ended.value.code == Exit.LINK


def test_B56_certificates_that_were_renewed_meanwhile_are_taken(tmp_path: Path, authority: ThrowawayAuthority) -> None:
    """A node that is rejected for its own expired certificate goes on with the new one, without a restart."""
    files = authority.issue("node-1", expired=True).write(tmp_path, "node-1")
    with SandboxDirector(tls=authority.issue("director")) as director:
        with running(config(director.address, tmp_path / "state", tls=files)) as node:
            node.wait_event(Event.LINK_REJECTED)
            authority.issue("node-1").write(tmp_path, "node-1")
            node.wait_state(State.IDLE)
