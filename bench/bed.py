"""The test bed: one real OpenFL director, and either node started against it from a fresh directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import yaml
from fedenvoy.demo.deadline import Deadline
from fedenvoy.demo.federation import Director, serve
from fedenvoy.demo.nodes import tls_options

from bench.environments import Environments
from bench.processes import Program
from bench.records import FEDENVOY, OPENFL

__all__ = ["BOTH", "MARK", "MARKS", "OURS", "PATIENCE", "Bed", "NodeKind"]

FILES = Path(__file__).parent / "files"
MARK = "FEDENVOY_BENCH_MARK"
"""The variable that tells an experiment where to note that it runs; nodes have it, director and front end do not."""
MARKS = "marks/lines"
"""The file that it names, in the node's directory."""
PATIENCE = 60.0
"""Seconds to wait for any line of a node."""


@dataclass(frozen=True)
class NodeKind:
    """One of the two programs that are compared.

    Attributes:
        name: As it stands in the results.
        short: As it stands in file names and shard names.
        accepted: What its log says when the director has accepted it.
        offered: What its log says when it has received an experiment's name.

    """

    name: str
    short: str
    accepted: str
    offered: str


ORIGINAL = NodeKind(OPENFL, "original", "Shard was accepted", "New experiment received")
OURS = NodeKind(FEDENVOY, "ours", "--registration_accepted-->", "--experiment_offered-->")
BOTH = (ORIGINAL, OURS)


@dataclass
class Bed:
    """Where nodes are started.

    Attributes:
        environments: Of both.
        place: A directory that is removed afterwards.
        runs: Samples to take of each thing.

    """

    environments: Environments
    place: Path
    runs: int
    _numbers: Iterator[int] = field(default_factory=count)

    def directory(self, name: str) -> Path:
        """Make a fresh directory."""
        path = self.place / f"{name}-{next(self._numbers)}"
        path.mkdir(parents=True)
        return path

    @contextmanager
    def director(self) -> Iterator[Director]:
        """Run OpenFL's director in plain text; its health period is the demo's, 5 s."""
        with serve(self.environments.openfl, self.directory("director"), Deadline(PATIENCE), {}) as director:
            yield director

    def node(self, kind: NodeKind, host: str, port: int) -> Program:
        """Start a node in a fresh directory, with the same configuration for both.

        The descriptor and the experiments of ours run in OpenFL's environment, as they do in OpenFL's envoy; OpenFL
        does not read the section that says so.
        """
        directory = self.directory(kind.short)
        marks = directory / MARKS
        marks.parent.mkdir()
        (directory / "numpy_shard.py").write_bytes((FILES / "numpy_shard.py").read_bytes())
        content = {
            "params": {"install_requirements": False, "cuda_devices": []},
            "shard_descriptor": {"template": "numpy_shard.NumpyShard", "params": {"samples": 200}},
            "agent": {
                "state_dir": str(directory / "state"),
                "python": str(self.environments.openfl),
                "child": {"env": [MARK]},
                "sandbox": {"write": [str(marks.parent)]},
            },
        }
        (directory / "envoy_config.yaml").write_text(yaml.safe_dump(content), "utf-8")
        argv = [str(self._script(kind)), *(["envoy"] if kind is ORIGINAL else []), "start", "-n", directory.name]
        argv += ["-dh", host, "-dp", str(port), "-ec", "envoy_config.yaml", *tls_options(None)]
        return Program(argv, directory, {**self.environment(directory), MARK: str(marks)})

    def environment(self, home: Path) -> dict[str, str]:
        """Give the environment variables of everything that is measured."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # A home of its own: OpenFL keeps switches in ~/.openfl. Wide: it wraps its log lines at the terminal's width.
        told = {"HOME": str(home), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        return {**kept, **told, "no_grpc_proxy": "localhost,127.0.0.1,::1"}

    def _script(self, kind: NodeKind) -> Path:
        if kind is ORIGINAL:
            return self.environments.openfl.with_name("fx")
        return self.environments.fedenvoy.with_name("fedenvoy")
