"""TLS: right, and wrong in each way that people get it wrong; every wrong one is a rejection, in a sentence."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import DirectorAddress, LinkSettings, TlsFiles
from fedenvoy.events import ShardDescription
from fedenvoy.link.director import DirectorLink
from fedenvoy.testing import Pem, SandboxDirector, ThrowawayAuthority

Dial = Callable[..., DirectorLink]

SHARD = ShardDescription(("1",), ("1",))


@pytest.fixture(scope="module")
def stranger() -> ThrowawayAuthority:
    return ThrowawayAuthority("somebody else")


def rejection(link: DirectorLink) -> str:
    with pytest.raises(CallError) as caught:
        link.register(SHARD, [])
    assert caught.value.kind is CallKind.REJECTED
    assert caught.value.text.startswith("TLS with the director at 127.0.0.1:")
    return caught.value.text


@contextmanager
def serving(tls: Pem | None) -> Iterator[DirectorAddress]:
    with SandboxDirector(tls=tls) as director:
        yield director.address
        assert not director.calls  # none of the wrong ones gets through


def test_mutual_tls_works_and_tells_the_director_who_calls(
    authority: ThrowawayAuthority, files: TlsFiles, dial: Dial
) -> None:
    with SandboxDirector(tls=authority.issue("director")) as director:
        director.offer("exp", b"archive", ["one"])
        link = dial(director=director.address, tls=files)
        assert link.register(SHARD, [])
        link.health_check(running=False, readings=[])
        assert link.wait_experiment(lambda _call: None) == "exp"
        assert b"".join(link.experiment_data("exp", lambda _call: None)) == b"archive"
        link.experiment_failed("exp", 1, "boom")
        assert {call.identity for call in director.calls} == {"one"}
        # As at the real director: the report arrives, and nothing comes of it.
        assert len(director.reports) == 1
        assert director.experiments["exp"].failed == []
        link.close()


def test_B56_a_director_of_another_authority(stranger: ThrowawayAuthority, files: TlsFiles, dial: Dial) -> None:
    with serving(stranger.issue("director")) as address:
        assert "certificate is not accepted here" in rejection(dial(director=address, tls=files))


def test_B56_a_director_that_does_not_accept_this_node(
    authority: ThrowawayAuthority, stranger: ThrowawayAuthority, tmp_path: Path, dial: Dial
) -> None:
    ours, theirs = authority.issue("one"), stranger.issue("one")
    mixed = Pem(ours.root_certificate, theirs.private_key, theirs.certificate).write(tmp_path, "mixed")
    with serving(authority.issue("director")) as address:
        assert "does not accept this node's certificate" in rejection(dial(director=address, tls=mixed))


def test_B56_a_director_with_another_name_and_its_names_are_told(
    authority: ThrowawayAuthority, files: TlsFiles, dial: Dial
) -> None:
    pem = authority.issue("director", ("director.example", "10.0.0.7"))
    with serving(pem) as address:
        text = rejection(dial(director=address, tls=files))
    assert "made out for director.example, 10.0.0.7, and not for 127.0.0.1" in text


def test_B56_called_by_its_address_while_the_certificate_has_names_only(
    authority: ThrowawayAuthority, files: TlsFiles, dial: Dial
) -> None:
    with serving(authority.issue("director", ("localhost",))) as address:
        assert "made out for localhost, and not for 127.0.0.1" in rejection(dial(director=address, tls=files))


def test_B56_an_expired_director(authority: ThrowawayAuthority, files: TlsFiles, dial: Dial) -> None:
    with serving(authority.issue("director", expired=True)) as address:
        assert "certificate has expired" in rejection(dial(director=address, tls=files))


def test_B56_tls_to_a_plain_director(files: TlsFiles, dial: Dial) -> None:
    with serving(None) as address:
        text = rejection(dial(director=address, tls=files))
    assert "plain text" in text
    assert "--disable-tls" in text


def test_B56_plain_to_a_tls_director(authority: ThrowawayAuthority, dial: Dial) -> None:
    with serving(authority.issue("director")) as address:
        assert "it expects TLS, and TLS is off here" in rejection(dial(director=address))


def test_B55_a_key_of_another_certificate(authority: ThrowawayAuthority, tmp_path: Path, dial: Dial) -> None:
    one, other = authority.issue("one"), authority.issue("one")
    mixed = Pem(one.root_certificate, other.private_key, one.certificate).write(tmp_path, "mixed")
    with serving(authority.issue("director")) as address:
        assert "cannot be used together" in rejection(dial(director=address, tls=mixed))


def test_B55_a_file_that_is_gone_at_the_next_dial(files: TlsFiles, dial: Dial) -> None:
    files.certificate.unlink()
    with pytest.raises(CallError, match="cannot be read") as caught:
        dial(tls=files).register(SHARD, [])
    assert caught.value.kind is CallKind.REJECTED
    assert str(files.certificate) in caught.value.text


def test_renewed_files_are_read_with_the_next_link(
    authority: ThrowawayAuthority, stranger: ThrowawayAuthority, tmp_path: Path, dial: Dial
) -> None:
    files = stranger.issue("one").write(tmp_path, "one")
    with SandboxDirector(tls=authority.issue("director")) as director:
        rejection(dial(director=director.address, tls=files))
        authority.issue("one").write(tmp_path, "one")
        link = dial(director=director.address, tls=files)
        assert link.register(SHARD, [])
        link.close()


def test_a_director_that_is_down_is_no_tls_fault(authority: ThrowawayAuthority, files: TlsFiles, dial: Dial) -> None:
    with SandboxDirector(tls=authority.issue("director")) as director:
        director.stop()
        with pytest.raises(CallError) as caught:
            dial(director=director.address, tls=files).register(SHARD, [])
    assert caught.value.kind is CallKind.RETRYABLE


@pytest.mark.parametrize("tls", [False, True])
def test_a_listener_that_hangs_up_is_no_tls_fault(files: TlsFiles, dial: Dial, tls: bool) -> None:
    """As a load balancer does whose director is down."""
    listening = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            while True:
                listening.accept()[0].close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    link = dial(director=DirectorAddress(*listening.getsockname()), tls=files if tls else None)
    with pytest.raises(CallError) as caught:
        link.register(SHARD, [])
    link.close()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()
    assert caught.value.kind is CallKind.RETRYABLE


@pytest.mark.parametrize("tls", [False, True])
def test_a_listener_that_says_nothing_costs_one_deadline(files: TlsFiles, dial: Dial, tls: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = LinkSettings(call_timeout=0.3)
        address = DirectorAddress(*listening.getsockname())
        link = dial(director=address, tls=files if tls else None, settings=settings)
        with pytest.raises(CallError) as caught:
            link.register(SHARD, [])
        link.close()
        listening.setblocking(False)
        listening.accept()[0].close()
        with pytest.raises(BlockingIOError):  # no second connection was made to find out more
            listening.accept()
    assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, "DEADLINE_EXCEEDED")


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A proxy in the environment that nobody serves, and no exception for this machine."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # not listening: refuses
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", f"http://{address}")
        yield address


def test_B62_a_proxy_takes_the_calls_unless_it_is_turned_off_or_excepted(
    director: SandboxDirector,
    dial: Dial,
    dead_proxy: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(CallError) as caught:
        dial().register(SHARD, [])
    assert f"through the proxy {dead_proxy} (http_proxy)" in caplog.text
    assert caught.value.kind is CallKind.RETRYABLE
    assert not director.calls
    assert f"through the proxy {dead_proxy} (http_proxy)" in caught.value.text
    assert dial(settings=LinkSettings(proxy=False)).register(SHARD, [])
    monkeypatch.setenv("no_proxy", "example.org, 127.0.0.1")
    assert dial().register(SHARD, [])


def test_B62_a_value_that_grpc_ignores_is_ignored(
    director: SandboxDirector, dial: Dial, dead_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", dead_proxy)  # no scheme
    assert dial().register(SHARD, [])
    monkeypatch.setenv("http_proxy", f"http://{dead_proxy}")
    monkeypatch.setenv("no_grpc_proxy", "127.0.0.0/8")
    assert dial().register(SHARD, [])
