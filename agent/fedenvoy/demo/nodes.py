"""The demo's nodes: `fedenvoy start` as separate processes, and what their log lines say of them.

A node is watched from outside only, by the JSON lines that every agent writes; nothing here reaches into one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from fedenvoy_statecharts import Event, State

from fedenvoy.config import TlsFiles
from fedenvoy.demo.child import Child, Lines

__all__ = ["SEVEN", "NodeView", "Site", "start_node", "tls_options", "view_after"]

SEVEN = tuple(state for state in State if state is not State.STOPPED)
"""The states that a demo's nodes are to walk through."""


@dataclass(frozen=True, slots=True)
class Site:
    """A node's directory and what it is started with.

    Attributes:
        name: The shard's name.
        directory: Its own directory; the shard descriptor's module lies in it.
        shard: Dotted path of the shard descriptor.
        params: The descriptor's arguments.
        install: Whether the experiment's requirements are installed.
        agent: The `agent:` section of its configuration.

    """

    name: str
    directory: Path
    shard: str
    params: Mapping[str, Any]
    install: bool = False
    agent: Mapping[str, Any] = field(default_factory=dict)

    def write(self) -> Path:
        """Write the configuration; give its path."""
        content = {
            "params": {"install_requirements": self.install, "cuda_devices": []},
            "shard_descriptor": {"template": self.shard, "params": dict(self.params)},
            "agent": {"state_dir": str(self.directory / "state"), **self.agent},
        }
        path = self.directory / "envoy_config.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
        return path


def start_node(
    site: Site,
    host: str,
    port: int,
    *,
    tls: TlsFiles | None = None,
    lines: Lines | None = None,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start the agent of a site.

    Args:
        site: Which.
        host: The director's.
        port: The director's.
        tls: The node's files; None: plain text.
        lines: Where its log lines go.
        python: The interpreter that fedenvoy is installed for.
        environment: Variables on top of this process's own.

    """
    argv = [python, "-m", "fedenvoy", "start", "-n", site.name, "-dh", host, "-dp", str(port)]
    argv += ["-ec", str(site.write()), "--log-format", "json", *tls_options(tls)]
    log = site.directory / f"{site.name}.log"
    return Child(site.name, argv, cwd=site.directory, log=log, lines=lines, environment=environment)


def tls_options(tls: TlsFiles | None) -> Sequence[str]:
    """Give the options by which `fx director start`, `fx envoy start` and `fedenvoy start` take certificates."""
    if tls is None:
        return ["--disable-tls"]
    return ["-rc", str(tls.root_certificate), "-pk", str(tls.private_key), "-oc", str(tls.certificate)]


@dataclass(frozen=True, slots=True)
class NodeView:
    """What is known of a node from its lines.

    Attributes:
        name: The shard's name.
        path: The states it went through, in order, each once in a row.
        event: What happened last.
        experiment: The experiment in hand, or the last one.
        metrics: The numbers of the training that finished last.
        trouble: Why the last training did not finish; empty when it did.

    """

    name: str
    path: tuple[str, ...] = ()
    event: str = ""
    experiment: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    trouble: str = ""

    @property
    def state(self) -> str:
        """Where it is; empty before its first line."""
        return self.path[-1] if self.path else ""

    @property
    def done(self) -> bool:
        """Whether it has reported an experiment and is free again."""
        return self.state == State.IDLE and State.REPORTING in self.path


_NUMBER = re.compile(r"(\w+)=(-?[0-9.]+(?:e[-+]?[0-9]+)?)")

_TROUBLE = {Event.EXPERIMENT_UNUSABLE, Event.REQUIREMENTS_FAILED, Event.TRAINING_FAILED, Event.PLAN_REJECTED}


def view_after(view: NodeView, line: str) -> NodeView:
    """Give the view after one more line; lines that tell no transition change nothing."""
    try:
        told = json.loads(line)
    except ValueError:
        return view
    if not isinstance(told, dict) or "to" not in told or "event" not in told:
        return view
    state, event, cause = str(told["to"]), str(told["event"]), str(told.get("cause") or "")
    path = view.path if view.state == state else (*view.path, state)
    new = replace(view, path=path, event=event, experiment=str(told.get("experiment") or view.experiment))
    if event == Event.TRAINING_FINISHED:
        return replace(new, metrics={name: float(value) for name, value in _NUMBER.findall(cause)}, trouble="")
    if event in _TROUBLE:
        return replace(new, trouble=f"{event}: {cause}")
    return new
