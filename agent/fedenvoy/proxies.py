"""Which proxy gRPC takes for a host, from the variables that it reads: a leaf that opens no connection."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from fedenvoy.hostnames import bare

__all__ = ["Proxy", "exception_for", "parse", "proxy_for", "variable"]

_PROXY = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPT = ("no_grpc_proxy", "no_proxy")
_PORT = 443
"""The port that gRPC takes where the variable names none."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One HTTP proxy.

    Attributes:
        host: Its name or address, without brackets.
        port: Its port.
        server: Host and port as they were written, for people.
        credentials: `user:password`, or empty.

    """

    host: str
    port: int
    server: str
    credentials: str = ""


def variable(environment: Mapping[str, str]) -> str | None:
    """Give the name of the variable that counts: the first one that is set; None when none is, or it is empty."""
    name = next((name for name in _PROXY if name in environment), None)
    return None if name is None or not environment[name].strip() else name


def parse(value: str) -> Proxy | None:
    """Read a variable's value; None when gRPC cannot use it."""
    try:
        parts = urlsplit(value.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or not parts.hostname:
        return None
    credentials, _, server = parts.netloc.rpartition("@")
    return Proxy(parts.hostname, port or _PORT, server, unquote(credentials))


def exception_for(host: str, environment: Mapping[str, str]) -> str | None:
    """Give the entry of the list of exceptions that takes a host in."""
    listed = next((environment[name] for name in _EXCEPT if environment.get(name)), "")
    name = bare(host).lower()
    for entry in filter(None, (entry.strip() for entry in listed.split(","))):
        if name.endswith(entry.lower()) or _in_network(name, entry):
            return entry
    return None


def proxy_for(host: str, environment: Mapping[str, str]) -> Proxy | None:
    """Give the proxy through which gRPC calls a host; None: it calls directly."""
    name = variable(environment)
    if name is None or exception_for(host, environment):
        return None
    return parse(environment[name])


def _in_network(host: str, entry: str) -> bool:
    if "/" not in entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
