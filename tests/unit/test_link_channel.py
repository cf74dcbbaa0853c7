"""How channels are opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import DirectorAddress, LinkSettings, TlsFiles
from fedenvoy.link.channel import MAX_CHUNK_BYTES, MAX_MESSAGE_BYTES, channel_options, open_channel, server_options

NOWHERE = DirectorAddress("127.0.0.1", 1)


@pytest.mark.parametrize("proxy", [True, False])
def test_B13_no_keepalive_and_no_ping_option_is_set(proxy: bool) -> None:
    names = [name for name, _ in channel_options(LinkSettings(proxy=proxy))]
    assert names
    assert not [name for name in names if "keepalive" in name or "ping" in name]


def test_B27_what_is_sent_has_one_limit_and_what_is_taken_fits_into_memory() -> None:
    ours, servers = dict(channel_options(LinkSettings())), dict(server_options())
    assert ours["grpc.max_send_message_length"] == servers["grpc.max_receive_message_length"] == MAX_MESSAGE_BYTES
    assert MAX_MESSAGE_BYTES == 2**30
    assert ours["grpc.max_receive_message_length"] == MAX_CHUNK_BYTES
    assert 8 * 2**20 <= MAX_CHUNK_BYTES <= 32 * 2**20, "OpenFL's chunks, four times, and not a node's whole memory"


def test_grpc_itself_retries_nothing() -> None:
    assert dict(channel_options(LinkSettings()))["grpc.enable_retries"] == 0


def test_B10_an_attempt_to_connect_and_the_pause_after_it_are_bounded() -> None:
    options = dict(channel_options(LinkSettings(call_timeout=7.0)))
    assert options["grpc.min_reconnect_backoff_ms"] == 7000  # gRPC's name for the bound on one attempt
    assert int(options["grpc.max_reconnect_backoff_ms"]) <= 5000


def test_B62_proxies_can_be_turned_off() -> None:
    assert dict(channel_options(LinkSettings(proxy=False)))["grpc.enable_http_proxy"] == 0
    assert "grpc.enable_http_proxy" not in dict(channel_options(LinkSettings()))


@pytest.mark.parametrize("wrong", ["root_certificate", "private_key", "certificate"])
@pytest.mark.parametrize("content", [None, b"", b"\x30\x82\x01\x0a"], ids=["missing", "empty", "DER"])
def test_B55_a_file_that_is_no_certificate_is_named(tmp_path: Path, wrong: str, content: bytes | None) -> None:
    paths = {name: tmp_path / name for name in ("root_certificate", "private_key", "certificate")}
    for path in paths.values():
        path.write_bytes(b"-----BEGIN SOMETHING-----\n")
    if content is None:
        paths[wrong].unlink()
    else:
        paths[wrong].write_bytes(content)
    with pytest.raises(CallError) as caught:
        open_channel(NOWHERE, TlsFiles(**paths), LinkSettings())
    assert caught.value.kind is CallKind.REJECTED
    assert str(paths[wrong]) in caught.value.text


def test_B55_a_directory_is_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="directory"):
        open_channel(NOWHERE, TlsFiles(tmp_path, tmp_path, tmp_path), LinkSettings())
