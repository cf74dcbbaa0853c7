"""How a channel to the director is opened: its options, and its credentials read anew each time.

There are no keepalive options, on purpose: a director with gRPC's default limits answers frequent pings by closing the
connection, parked call and all. Health checks with a deadline find a dead director instead.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import grpc

from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import DirectorAddress, LinkSettings, TlsFiles
from fedenvoy.link.dialect import Openfl16
from fedenvoy.link.proxy import proxy_text

__all__ = [
    "MAX_AHEAD_BYTES",
    "MAX_CHUNK_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_REPLY_BYTES",
    "channel_options",
    "open_channel",
    "server_options",
]

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 2**30
"""The largest message that is sent, and that a server takes; what OpenFL's own channels allow."""
MAX_CHUNK_BYTES = 16 * 2**20
"""The largest chunk of an archive that is taken; OpenFL's have 2 MiB. Several of them are in memory at a time."""
MAX_AHEAD_BYTES = 4 * 2**20
"""What a director may send of an archive before it is read: 40 MB a second over a round trip of 100 ms."""
MAX_REPLY_BYTES = 64 * 2**10
"""The largest other message that is taken; each holds a name, a number or nothing."""

_SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 32 * 2**20),
)
_LIMITS = {
    "methodConfig": [
        {"name": [{}], "maxResponseMessageBytes": MAX_REPLY_BYTES},
        {
            "name": [{"service": Openfl16.SERVICE, "method": Openfl16.DATA.path.rpartition("/")[2]}],
            "maxResponseMessageBytes": MAX_CHUNK_BYTES,
        },
    ]
}


def server_options() -> tuple[tuple[str, int], ...]:
    """Give the options of a server that takes what these channels send."""
    return _SERVER_OPTIONS


def channel_options(settings: LinkSettings) -> tuple[tuple[str, int | str], ...]:
    """Give the options of a channel: `proxy` counts, and `call_timeout` also bounds the making of a connection."""
    options: tuple[tuple[str, int | str], ...] = (
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_CHUNK_BYTES),
        ("grpc.service_config", json.dumps(_LIMITS)),
        # What gRPC takes in ahead of its reader. Left to itself it measures the line, and takes tens of megabytes.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", MAX_AHEAD_BYTES),
        ("grpc.max_metadata_size", 2**20),  # a director's words, which are cut when they are told
        ("grpc.enable_retries", 0),  # each retry is a transition of the lifecycle
        # A new channel means a new connection: from the shared pool it would get the one that has just failed.
        ("grpc.use_local_subchannel_pool", 1),
        # While a link is kept through a short outage, the director's return is noticed within this time.
        ("grpc.initial_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # Despite its name the bound on one attempt to connect. Without it, some releases keep the socket of an attempt
        # that is stuck for 20 s, also when its channel is closed.
        ("grpc.min_reconnect_backoff_ms", max(100, round(settings.call_timeout * 1000))),
    )
    return options if settings.proxy else (*options, ("grpc.enable_http_proxy", 0))


def open_channel(director: DirectorAddress, tls: TlsFiles | None, settings: LinkSettings) -> grpc.Channel:
    """Open a channel, and log which proxy it will use; nothing is sent before its first call.

    Raises:
        CallError: A certificate file cannot be read or is not PEM (rejected).

    """
    if proxy := proxy_text(director, os.environ, enabled=settings.proxy):
        logger.info("%s", proxy)
    options = channel_options(settings)
    if tls is None:
        return grpc.insecure_channel(director.target, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(tls.root_certificate, "root certificate"),
        private_key=_read(tls.private_key, "private key"),
        certificate_chain=_read(tls.certificate, "certificate"),
    )
    return grpc.secure_channel(director.target, credentials, options=options)


def _read(path: Path, what: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        text = f"the {what} {path} cannot be read: {error.strerror or error}"
        raise CallError(kind=CallKind.REJECTED, code="TLS", text=text) from error
    if b"-----BEGIN " not in content:
        text = f"the {what} {path} is not a PEM file; TLS needs one that begins with -----BEGIN"
        raise CallError(kind=CallKind.REJECTED, code="TLS", text=text)
    return content
