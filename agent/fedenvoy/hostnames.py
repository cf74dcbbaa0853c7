"""Hosts as gRPC has them: how it spells one, and which certificate stands for it. A leaf that opens no connection."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping
from typing import Any

__all__ = ["bare", "made_out_for", "names_in", "stands_for"]


def bare(host: str) -> str:
    """Give a host as a resolver takes it: without gRPC's `dns:` in front, and without brackets."""
    return host.removeprefix("dns:").lstrip("/").strip("[]")


def names_in(certificate: Mapping[str, Any] | None) -> list[str]:
    """Give the names that count: the alternative ones, or where there are none the common name.

    Args:
        certificate: What `ssl` gives as `getpeercert()`.

    """
    certificate = certificate or {}
    names = [str(name) for _, name in certificate.get("subjectAltName", ())]
    return names or [
        str(value) for part in certificate.get("subject", ()) for key, value in part if key == "commonName"
    ]


def made_out_for(certificate: Mapping[str, Any] | None, host: str) -> bool:
    """Whether one of the names stands for a host; the common name never stands for an address."""
    if _address(host) is not None and not (certificate or {}).get("subjectAltName"):
        return False
    return any(stands_for(name, host) for name in names_in(certificate))


def stands_for(pattern: str, host: str) -> bool:
    """Whether a name of a certificate, perhaps with a leading wildcard label, or an address stands for a host."""
    address = _address(host)
    if address is not None:
        return _address(pattern) == address
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern.startswith("*."):
        _, dot, rest = host.partition(".")
        return bool(dot) and "." in rest and pattern[2:] == rest
    return pattern == host


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(text.strip("[]"))
    return None
