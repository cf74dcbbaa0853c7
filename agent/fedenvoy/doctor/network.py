"""The way to the director, one step after the other: its name, a proxy, a connection, TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from fedenvoy.certificates import SOON
from fedenvoy.config import DirectorAddress, TlsFiles
from fedenvoy.doctor.findings import Finding, Level, fault, good, note, warning
from fedenvoy.errors import Exit
from fedenvoy.hostnames import bare, names_in
from fedenvoy.link.diagnosis import shake_hands
from fedenvoy.link.proxy import proxy_in_use, proxy_text

__all__ = ["look"]

_FAMILIES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}


def look(
    director: DirectorAddress,
    tls: TlsFiles | None,
    environ: Mapping[str, str],
    *,
    proxy: bool,
    timeout: float,
    only_reach: bool = False,
) -> Iterator[Finding]:
    """Go the way of a connection as far as it leads.

    Args:
        director: Where to.
        tls: The certificates; None: plain text.
        environ: The environment variables, for the proxies.
        proxy: Whether proxies apply (`agent.link.proxy`).
        timeout: Seconds that each step may take.
        only_reach: Whether to leave TLS out.

    """
    words = proxy_text(director, environ, enabled=proxy)
    if proxy_in_use(director, environ, enabled=proxy):
        yield warning("proxy", f"{words}; what follows is not looked at, for it would not go the same way")
        return
    if words:
        yield note("proxy", words)
    if director.host.startswith("unix:"):
        yield note("name", f"{director.host} is a socket of this machine")
        return
    host = bare(director.host)
    addresses = []
    for found in _resolved(host, director.port):
        if isinstance(found, Finding):
            yield found
        else:
            addresses.append(found)
    connected = [_connect(family, address, timeout) for family, address in addresses]
    reached = [finding for finding in connected if finding.level is Level.GOOD]
    if addresses and not reached:
        yield from (_as_fault(finding) for finding in connected)
    yield from reached
    yield from (finding for finding in connected if reached and finding.level is not Level.GOOD)
    if reached and not only_reach:
        yield _tls(director, tls, timeout)


def _resolved(host: str, port: int) -> Iterator[Finding | tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        yield fault(
            "name", f"{host!r} has no address here ({reason}); check the name (-dh) and this machine's DNS", Exit.LINK
        )
        return
    by_family: dict[socket.AddressFamily, list[Any]] = {}
    for family, _, _, _, address in found:
        if family in _FAMILIES and address not in by_family.setdefault(family, []):
            by_family[family].append(address)
    shown = "; ".join(f"{_FAMILIES[family]} {', '.join(a[0] for a in ones)}" for family, ones in by_family.items())
    yield good("name", f"{host} is {shown}")
    yield from ((family, address) for family, ones in by_family.items() for address in ones)


def _connect(family: socket.AddressFamily, address: Any, timeout: float) -> Finding:
    where = f"{address[0]} port {address[1]}"
    began = time.monotonic()
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(address)
    except TimeoutError:
        return warning("connection", f"{where} does not answer within {timeout:g} s: a firewall, or another address")
    except OSError as error:
        hint = "; nothing listens there" if isinstance(error, ConnectionRefusedError) else ""
        return warning("connection", f"{where} cannot be reached ({error.strerror or error}){hint}")
    return good("connection", f"{where} answers within {(time.monotonic() - began) * 1000:.0f} ms")


def _as_fault(finding: Finding) -> Finding:
    return fault(finding.subject, finding.text, Exit.LINK)


def _tls(director: DirectorAddress, tls: TlsFiles | None, timeout: float) -> Finding:
    found = shake_hands(director, tls, timeout)
    if found.trouble:
        return fault("TLS", f"the director's TLS: {found.trouble}", Exit.LINK)
    if tls is None:
        return warning("TLS", "the link is not encrypted, and the director does not ask for it")
    if not found.certificate:
        return note("TLS", "the director's certificate cannot be looked at: the handshake was cut off")
    names = ", ".join(names_in(found.certificate)) or "no name"
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(found.certificate["notAfter"]), timezone.utc)
    text = f"the director's certificate is accepted; it is made out for {names} and valid until {end:%Y-%m-%d}"
    if end - datetime.now(timezone.utc) < SOON:
        return warning("TLS", f"{text}, which is soon")
    return good("TLS", text)
