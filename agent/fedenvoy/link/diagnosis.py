"""Finds out why TLS does not work, by one handshake of its own, when gRPC's words leave it open.

To gRPC, a director that refuses this node's certificate, one that wants TLS and gets none, and one that is going down
all look alike: the socket was closed. A person should not have to find out which.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedenvoy.config import DirectorAddress, TlsFiles
from fedenvoy.hostnames import bare, made_out_for, names_in

__all__ = ["Handshake", "shake_hands", "tls_trouble"]

_SCHEMES = ("unix:", "unix-abstract:", "vsock:", "xds:", "google-c2p:")


@dataclass(frozen=True, slots=True)
class Handshake:
    """What one handshake showed.

    Attributes:
        trouble: What is wrong with TLS, about the director as "it"; None when nothing is, or it cannot be found out.
        certificate: The director's, as `ssl` gives it, once it was accepted; empty when none was seen.

    """

    trouble: str | None = None
    certificate: Mapping[str, Any] = field(default_factory=dict)


def tls_trouble(director: DirectorAddress, tls: TlsFiles | None, timeout: float) -> str | None:
    """Give what `shake_hands` finds to be wrong."""
    return shake_hands(director, tls, timeout).trouble


def shake_hands(director: DirectorAddress, tls: TlsFiles | None, timeout: float) -> Handshake:
    """Try a handshake.

    Args:
        director: Where to connect, directly: not for use where a proxy applies.
        tls: The certificates; None: the link is meant to be plain text.
        timeout: Seconds that each step may take.

    """
    host = bare(director.host)
    if director.host.startswith(_SCHEMES):
        return Handshake()
    try:
        with socket.create_connection((host, director.port), timeout=timeout) as connection:
            return Handshake(_plain(connection)) if tls is None else _encrypted(connection, host, tls)
    except OSError:
        return Handshake()


def _plain(connection: socket.socket) -> str | None:
    """See whether the peer of a link meant to be plain text speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(connection):
            pass
    except ssl.SSLEOFError:
        return None
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            return None
    return "it expects TLS, and TLS is off here; give the certificates, or check the port"


def _encrypted(connection: socket.socket, host: str, tls: TlsFiles) -> Handshake:
    """Do what gRPC did, step by step."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # judged by gRPC; here the names are wanted
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(tls.root_certificate)
        context.load_cert_chain(tls.certificate, tls.private_key)
    except (OSError, ssl.SSLError) as error:
        return Handshake(f"this node's certificate files cannot be used together: {_reason(error)}")
    try:
        with context.wrap_socket(connection, server_hostname=host) as encrypted:
            certificate = encrypted.getpeercert() or {}
            return Handshake(_after_handshake(encrypted, certificate, host), certificate)
    except ssl.SSLError as error:
        return Handshake(_broken_handshake(error))


def _broken_handshake(error: ssl.SSLError) -> str | None:
    """Say what ended the handshake; None where it was just cut off."""
    if isinstance(error, ssl.SSLEOFError):
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted here: {error.verify_message}"
    if error.reason == "WRONG_VERSION_NUMBER":
        return "it answers in plain text there; check the port, or turn TLS off with --disable-tls"
    return f"it ended the handshake: {_reason(error)}"


def _after_handshake(encrypted: ssl.SSLSocket, certificate: Mapping[str, Any], host: str) -> str | None:
    """Compare the names, and see whether the director accepts this node."""
    if not made_out_for(certificate, host):
        names = ", ".join(names_in(certificate)) or "no name at all"
        return f"its certificate is made out for {names}, and not for {host}"
    return None if _hears(encrypted) else "it closes after the handshake: it does not accept this node's certificate"


def _hears(encrypted: ssl.SSLSocket) -> bool:
    """Whether the peer says anything: since TLS 1.3 it judges the client's certificate after the handshake."""
    try:
        return bool(encrypted.recv(1))
    except ConnectionError:
        return False


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
