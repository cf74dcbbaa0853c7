"""Which proxy gRPC will use for a target, told before it is used: a proxy that eats the calls is otherwise invisible.

gRPC reads the variables itself, in its own way; this says in words what it will make of them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from fedenvoy.config import DirectorAddress

__all__ = ["proxy_in_use", "proxy_text"]

_PROXY = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPT = ("no_grpc_proxy", "no_proxy")


def proxy_text(director: DirectorAddress, environment: Mapping[str, str], *, enabled: bool = True) -> str | None:
    """Say in one sentence what the proxy variables mean for the calls to a director.

    Args:
        director: Who is called.
        environment: The process environment.
        enabled: The setting `agent.link.proxy`.

    Returns:
        None when no variable is set.

    """
    name = next((name for name in _PROXY if name in environment), None)
    if name is None or not environment[name].strip():
        return None
    if not enabled:
        return f"the director {director} is called directly: {name} is set, but agent.link.proxy is off"
    if director.host.startswith("unix:"):
        return None
    server = _server(environment[name])
    if server is None:
        return f"{name} is not used for the director {director}: it must begin with http:// and name a host"
    if entry := _excepted(director.host, environment):
        return f"the director {director} is called directly: {entry} is excepted from the proxy {server}"
    return f"the director {director} is called through the proxy {server} ({name}), unless agent.link.proxy is false"


def proxy_in_use(director: DirectorAddress, environment: Mapping[str, str], *, enabled: bool = True) -> bool:
    """Whether gRPC's calls to a director go through a proxy."""
    name = next((name for name in _PROXY if name in environment), None)
    if not enabled or name is None or director.host.startswith("unix:") or _server(environment[name]) is None:
        return False
    return not _excepted(director.host, environment)


def _server(value: str) -> str | None:
    """Give host and port of a proxy without its credentials; None when gRPC cannot use the value."""
    try:
        parts = urlsplit(value.strip())
    except ValueError:
        return None
    if parts.scheme != "http" or not parts.hostname:
        return None
    return parts.netloc.rpartition("@")[2]


def _excepted(host: str, environment: Mapping[str, str]) -> str | None:
    """Give the entry of the list of exceptions that takes a host in."""
    listed = next((environment[name] for name in _EXCEPT if environment.get(name)), "")
    bare = host.removeprefix("dns:").lstrip("/").strip("[]").lower()
    for entry in filter(None, (entry.strip() for entry in listed.split(","))):
        if bare.endswith(entry.lower()) or _in_network(bare, entry):
            return entry
    return None


def _in_network(host: str, entry: str) -> bool:
    if "/" not in entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
