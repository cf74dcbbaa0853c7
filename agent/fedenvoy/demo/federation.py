"""The OpenFL side of a federation: its real director and the data scientist's script, as child processes."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from fedenvoy.config import TlsFiles
from fedenvoy.demo.child import Child, Lines
from fedenvoy.demo.deadline import Deadline, DemoError
from fedenvoy.demo.nodes import tls_options

__all__ = ["Director", "Outcome", "copy_files", "quiet_port", "read_outcome", "scientist", "serve"]


@dataclass(frozen=True, slots=True)
class Director:
    """A running director.

    Attributes:
        host: What nodes dial.
        port: Where it listens.
        python: The interpreter of its environment.
        certificates: The files of "localhost", of "scientist" and of the nodes, by name; empty: plain text.
        child: The process.

    """

    host: str
    port: int
    python: Path
    certificates: Mapping[str, TlsFiles]
    child: Child


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an experiment ended, as the director told the scientist.

    Attributes:
        status: The director's last word: "finished", "failed", "rejected", or one that is no end ("in_progress").
        weights: The last aggregated weights, flat, by tensor name.
        metrics: What was measured: `metric_origin`, `task_name`, `metric_name`, `metric_value`, `round`.

    """

    status: str
    weights: Mapping[str, list[float]] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()


def quiet_port() -> int:
    """Give a free port that no outgoing connection will take meanwhile.

    OpenFL cannot be asked to listen on port 0, and a port of the ephemeral range may be gone before it listens.
    """
    for _ in range(1000):
        port = random.randint(20000, 32000)  # noqa: S311 - not a secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise DemoError("no free port between 20000 and 32000 was found")


def copy_files(target: Path, *names: str) -> Path:
    """Copy files of the demo into a directory, which is made when it is missing; give the directory."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        content = files("fedenvoy.demo").joinpath("files").joinpath(name).read_bytes()
        (target / name).write_bytes(content)
    return target


@contextmanager
def serve(
    python: Path, directory: Path, deadline: Deadline, certificates: Mapping[str, TlsFiles]
) -> Iterator[Director]:
    """Run `fx director start` in a directory of its own, until the block ends.

    Raises:
        DemoError: It does not listen in time, or ended.

    """
    copy_files(directory, "openfl_director.yaml")
    config = directory / "openfl_director.yaml"
    port = quiet_port()
    content = yaml.safe_load(config.read_text("utf-8"))
    content["settings"]["listen_port"] = port
    config.write_text(yaml.safe_dump(content), "utf-8")

    argv = [str(python.with_name("fx")), "director", "start", "-c", config.name]
    argv += tls_options(certificates.get("localhost"))
    # A home of its own: OpenFL keeps switches in ~/.openfl that would change what its commands do.
    home = {"HOME": str(directory)}
    with Child("director", argv, cwd=directory, log=directory / "director.log", environment=home, grace=5) as child:
        _wait_until_listening(port, child, deadline)
        yield Director(host="localhost", port=port, python=python, certificates=certificates, child=child)


def _wait_until_listening(port: int, child: Child, deadline: Deadline) -> None:
    while True:
        deadline.check("OpenFL's director to listen")
        if child.exit_code is not None:
            raise DemoError(f"OpenFL's director ended with code {child.exit_code}: {child.tail()}")
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
            return
        time.sleep(0.1)


def scientist(
    director: Director,
    directory: Path,
    deadline: Deadline,
    *,
    nodes: Sequence[str],
    experiment: str = "plane",
    rounds: int = 2,
    lines: Lines | None = None,
    training: str = "",
) -> Child:
    """Submit the two-round experiment from a directory of its own; the process ends when the experiment is over.

    Args:
        director: Where to.
        directory: The scientist's; made new.
        deadline: When to give up.
        nodes: The nodes that must be online first.
        experiment: Its name.
        rounds: How often the weights are averaged.
        lines: Where its lines go.
        training: Source text that is appended to the experiment's module, to change what it does.

    """
    work = directory / "experiment"
    shutil.rmtree(work, ignore_errors=True)
    copy_files(work, "plane_experiment.py")
    with (work / "plane_experiment.py").open("a", encoding="utf-8") as module:
        module.write(training)
    copy_files(directory, "plane_submit.py")
    argv = [
        str(director.python),
        str(directory / "plane_submit.py"),
        "--host",
        director.host,
        "--port",
        str(director.port),
    ]
    argv += ["--aggregator-port", str(quiet_port()), "--name", experiment, "--rounds", str(rounds)]
    argv += ["--timeout", f"{deadline.check('the experiment'):.0f}", "--nodes", *nodes]
    argv += tls_options(director.certificates.get("scientist"))
    log = directory / "scientist.log"
    home = {"HOME": str(directory)}
    return Child("scientist", argv, cwd=work, log=log, lines=lines, environment=home, grace=5)


def read_outcome(child: Child) -> Outcome:
    """Read how the experiment ended from the log of a scientist that has ended.

    Raises:
        DemoError: It ended before the experiment did.

    """
    for line in reversed(child.log.read_text("utf-8").splitlines()):
        if line.startswith("{") and '"outcome"' in line:
            told = json.loads(line)
            return Outcome(told["status"], told.get("weights", {}), told.get("metrics", ()))
    raise DemoError(f"the submission ended with code {child.exit_code}: {child.tail()}")
