"""Where a plan of OpenFL 1.6 has its aggregator, found without OpenFL: the agent needs to know before anything runs.

OpenFL fills in what a plan leaves to it (`auto`): the host is this machine's name, and the port follows from a hash of
the plan, written as YAML. Both ends of a federation reckon so, and so does this.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import yaml

from fedenvoy.ports import Aggregator

__all__ = ["find_aggregator", "own_name"]

_AUTO = "auto"
_PORTS = range(49152, 60999)
"""What OpenFL chooses from."""
_USED = ("agg_addr", "agg_port", "tls", "disable_client_auth")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]")


def find_aggregator(plan: Mapping[str, Any], name: Callable[[], str] | None = None) -> Aggregator:
    """Say where the collaborator of a plan will call.

    Args:
        plan: The plan as it lies in the archive.
        name: Gives the name that stands for `auto`; None: see `own_name`.

    Raises:
        ValueError: In one sentence: the plan does not say, or says what is no address.

    """
    config = _completed(plan)
    network = config["network"]["settings"]
    if "defaults" in config["network"] and not all(key in network for key in _USED):
        raise ValueError("the plan's network section leaves settings to a file of OpenFL's: name them in the plan")
    for key in ("agg_addr", "agg_port"):
        if key not in network:
            raise ValueError(f"the plan has no network.settings.{key}: a confined experiment must name its aggregator")
    if network["agg_addr"] == _AUTO:
        network["agg_addr"] = (name or own_name)()
    if network["agg_port"] == _AUTO:
        network["agg_port"] = _port_from_hash(config)
    return Aggregator(
        host=_host(network["agg_addr"]),
        port=_port(network["agg_port"]),
        tls=bool(network.get("tls", True)),
        client_auth=not network.get("disable_client_auth"),
    )


def own_name() -> str:
    """Give this machine's name, as OpenFL asks for it."""
    return os.environ["FQDN"] if "FQDN" in os.environ else socket.getfqdn()


def _completed(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Give a copy with settings in every section."""
    config = deepcopy(dict(plan))
    for name, section in config.items():
        if not isinstance(section, dict):
            raise ValueError(f"the plan's section {name!r} must be a mapping: OpenFL cannot read it otherwise")  # noqa: TRY004 - the port's
        if section.get("settings") is None:
            section["settings"] = {}
    if not isinstance(config.get("network", {}).get("settings"), dict):
        raise ValueError("the plan's network.settings must be a mapping")  # noqa: TRY004 - the port's
    return config


def _port_from_hash(config: Mapping[str, Any]) -> int:
    if left := [name for name, section in config.items() if "defaults" in section]:
        raise ValueError(
            f"the plan leaves network.settings.agg_port to OpenFL, and the section {left[0]!r} to a file of OpenFL's: "
            f"name the port in the plan"
        )
    try:
        text = yaml.dump(config)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("the plan cannot be written as YAML, so OpenFL's port for it cannot be found") from error
    return _PORTS[int(hashlib.sha384(text.encode("utf-8")).hexdigest()[:8], 16) % len(_PORTS)]


def _host(value: Any) -> str:
    text = str(value)
    if not _HOST.fullmatch(text):
        raise ValueError(
            f"the plan's network.settings.agg_addr is {text[:100]!r}, which is no name or address of a host"
        )
    return text.strip("[]")


def _port(value: Any) -> int:
    try:
        port = 0 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        port = 0
    if not 0 < port < 2**16:
        raise ValueError(f"the plan's network.settings.agg_port is {str(value)[:100]!r}, which is no port")
    return port
