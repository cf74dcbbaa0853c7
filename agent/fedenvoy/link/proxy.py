"""Which proxy gRPC will use for a target, told before it is used: a proxy that eats the calls is otherwise invisible.

gRPC reads the variables itself, in its own way; this says in words what it will make of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedenvoy.config import DirectorAddress
from fedenvoy.proxies import exception_for, parse, proxy_for, variable

__all__ = ["proxy_in_use", "proxy_text"]


def proxy_text(director: DirectorAddress, environment: Mapping[str, str], *, enabled: bool = True) -> str | None:
    """Say in one sentence what the proxy variables mean for the calls to a director.

    Args:
        director: Who is called.
        environment: The process environment.
        enabled: The setting `agent.link.proxy`.

    Returns:
        None when no variable is set.

    """
    name = variable(environment)
    if name is None:
        return None
    if not enabled:
        return f"the director {director} is called directly: {name} is set, but agent.link.proxy is off"
    if director.host.startswith("unix:"):
        return None
    proxy = parse(environment[name])
    if proxy is None:
        return f"{name} is not used for the director {director}: it must begin with http:// and name a host"
    if entry := exception_for(director.host, environment):
        return f"the director {director} is called directly: {entry} is excepted from the proxy {proxy.server}"
    return (
        f"the director {director} is called through the proxy {proxy.server} ({name}), unless agent.link.proxy is false"
    )


def proxy_in_use(director: DirectorAddress, environment: Mapping[str, str], *, enabled: bool = True) -> bool:
    """Whether gRPC's calls to a director go through a proxy."""
    return enabled and not director.host.startswith("unix:") and proxy_for(director.host, environment) is not None
