"""The real OpenFL 1.6 in an environment of its own, and federations made of it and of fedenvoy's nodes."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from fedenvoy.config import TlsFiles
from fedenvoy.demo.child import Child, Lines
from fedenvoy.demo.deadline import Deadline
from fedenvoy.demo.environment import openfl_environment, uv
from fedenvoy.demo.federation import Director, Outcome, copy_files, read_outcome, scientist, serve
from fedenvoy.demo.nodes import NodeView, Site, start_node, tls_options, view_after
from support.sources import source_path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("hospital-a", "hospital-b")
SAMPLES = {"hospital-a": 150, "hospital-b": 250}
"""Sites of different size: their weight in the average has to reach the aggregator."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory, and give each the time that a director's ten-second clock needs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def cache() -> Path:
    """Where environments are kept from one run of the suite to the next."""
    told = os.environ.get("FEDENVOY_INTEROP_CACHE")
    return Path(told) if told else ROOT / ".tox" / "interop-openfl16"


@pytest.fixture(scope="session")
def openfl_python(cache: Path) -> Path:
    """The interpreter of an environment that holds OpenFL 1.6 and nothing of fedenvoy; where the demo looks for it."""
    return openfl_environment(cache / "fedenvoy" / "openfl-1.6", Deadline(170))


@pytest.fixture(scope="session")
def shared_python(cache: Path) -> Path:
    """The interpreter of one environment that holds OpenFL 1.6 and `fedenvoy[openfl]`, the latter as a wheel."""
    deadline = Deadline(170)
    python = openfl_environment(cache / "shared", deadline)
    with tempfile.TemporaryDirectory(prefix="fedenvoy-wheel-") as place:
        # Built from a copy: setuptools takes into a wheel whatever an earlier build left beside the sources.
        copy = Path(place) / "source"
        copy.mkdir()
        for name in ("agent", "statecharts"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, copy)
        uv("build", "--wheel", "--quiet", "--out-dir", place, str(copy), deadline=deadline, purpose="build the wheel")
        (wheel,) = Path(place).glob("*.whl")
        install = ("pip", "install", "--quiet", "--python", str(python), "--reinstall-package", "fedenvoy")
        uv(*install, f"fedenvoy[openfl] @ {wheel.as_uri()}", deadline=deadline, purpose="install the wheel")
    return python


def found_here() -> dict[str, str]:
    """Where a program finds the fedenvoy that is tested, whatever directory it runs in."""
    return {"PYTHONPATH": source_path()}


@pytest.fixture(scope="session")
def sources() -> Mapping[str, str]:
    """The variables with which a program finds the fedenvoy that is tested."""
    return found_here()


@pytest.fixture(scope="session")
def certificates() -> Iterator[Mapping[str, TlsFiles]]:
    """A throwaway authority's files for the director, the scientist and both nodes, by name."""
    with tempfile.TemporaryDirectory(prefix="fedenvoy-interop-") as place:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{place}/ca.crt")
        issued = {}
        for name in ("localhost", "scientist", *NAMES):
            certificate = authority.issue_cert(name, "localhost", common_name=name)
            certificate.private_key_pem.write_to_path(f"{place}/{name}.key")
            certificate.cert_chain_pems[0].write_to_path(f"{place}/{name}.crt")
            issued[name] = TlsFiles(*(Path(place, file) for file in ("ca.crt", f"{name}.key", f"{name}.crt")))
        yield issued


class Federation:
    """One director and the sites that join it, in a directory of their own; everything ends with the stack."""

    def __init__(self, place: Path, python: Path, stack: ExitStack, certificates: Mapping[str, TlsFiles]) -> None:
        self.place = place
        self.python = python
        self.deadline = Deadline(200)
        self.lines = Lines()
        self.views = {name: NodeView(name) for name in NAMES}
        self._stack = stack
        self.director: Director = stack.enter_context(serve(python, place / "director", self.deadline, certificates))

    def original(self, name: str, *, install: bool = False) -> Child:
        """Start OpenFL's own envoy; with `install` it brings its environment to what the experiment asks for."""
        site = self._site(name, {}, install=install)
        argv = [str(self.python.with_name("fx")), "envoy", "start", "-n", name, "-ec", site.write().name]
        argv += ["-dh", self.director.host, "-dp", str(self.director.port)]
        argv += tls_options(self.director.certificates.get(name))
        log, home = site.directory / f"{name}.log", {"HOME": str(site.directory)}
        return self._stack.enter_context(Child(name, argv, cwd=site.directory, log=log, environment=home, grace=1))

    def node(
        self,
        name: str,
        *,
        python: Path | None = None,
        install: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> Child:
        """Start fedenvoy: from the environment of `python`, or from this one with OpenFL's for the experiments."""
        own = {"python": str(self.python)} if python is None else {}
        child = start_node(
            self._site(name, {**own, **(settings or {})}, install=install),
            self.director.host,
            self.director.port,
            tls=self.director.certificates.get(name),
            lines=self.lines,
            python=sys.executable if python is None else str(python),
            environment=found_here() if python is None else {"PYTHONPATH": ""},
        )
        return self._stack.enter_context(child)

    def kill_director(self) -> None:
        """Kill -9 the director, and with it every aggregator."""
        self.director.child.signal(signal.SIGKILL)
        assert self.director.child.wait(10) == -signal.SIGKILL

    def start_director(self) -> None:
        """Start the director again where it was; it knows nothing any more."""
        place, port = self.place / "director", self.director.port
        argv = [str(self.python.with_name("fx")), "director", "start", "-c", "openfl_director.yaml"]
        argv += tls_options(self.director.certificates.get("localhost"))
        log, home = place / "director-again.log", {"HOME": str(place)}
        child = self._stack.enter_context(Child("director", argv, cwd=place, log=log, environment=home, grace=5))
        while True:
            self.deadline.check("the director to listen again")
            assert child.exit_code is None, child.tail()
            with contextlib.suppress(OSError), socket.create_connection((self.director.host, port), timeout=1):
                break
            time.sleep(0.1)
        self.director = replace(self.director, child=child)

    def _site(self, name: str, agent: Mapping[str, object], *, install: bool) -> Site:
        directory = copy_files(self.place / name, "plane_shard.py")
        params = {"seed": 1 + NAMES.index(name), "samples": SAMPLES[name]}
        return Site(name, directory, "plane_shard.PlaneShard", params, install=install, agent=agent)

    def submit(
        self, training: str = "", *, name: str = "plane", rounds: int = 2, online: Sequence[str] = NAMES
    ) -> Child:
        """Submit an experiment to both sites, once those of `online` are; `training` is appended to its module."""
        work = self.place / f"scientist-{name}"
        child = scientist(
            self.director,
            work,
            self.deadline,
            nodes=online,
            experiment=name,
            rounds=rounds,
            lines=self.lines,
            training=training,
        )
        return self._stack.enter_context(child)

    def outcome(self, child: Child) -> Outcome:
        """Wait until the director says how the experiment ended."""
        assert child.wait(self.deadline.left) is not None, child.tail()
        return read_outcome(child)

    def wait(self, name: str, until: Callable[[NodeView], bool]) -> NodeView:
        """Take in the nodes' lines until `until` holds of one of them; give its view."""
        while not until(self.views[name]):
            try:
                line = self.lines.get(timeout=self.deadline.left)
            except queue.Empty:
                pytest.fail(f"{name} came no further than {self.views[name]}")
            if line.source in self.views:
                self.views[line.source] = view_after(self.views[line.source], line.text)
        return self.views[name]


Start = Callable[[Mapping[str, TlsFiles]], Federation]


@pytest.fixture
def federation(tmp_path: Path, openfl_python: Path) -> Iterator[Start]:
    """Start a federation that ends with the test, given everyone's certificates; with none it speaks plain text."""
    with ExitStack() as stack:
        yield lambda certificates: Federation(tmp_path, openfl_python, stack, certificates)


class Ended(NamedTuple):
    """A federation after its experiment."""

    outcome: Outcome
    views: Mapping[str, NodeView]
    exit_codes: Mapping[str, int]


@pytest.fixture(scope="session")
def side_by_side(openfl_python: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Ended]:
    """Two federations that run the same experiment at once: one of OpenFL's own envoys, one of fedenvoy's nodes.

    Most of a federation's time is spent waiting for the director's ten-second clocks.
    """
    with ExitStack() as stack:
        places = [tmp_path_factory.mktemp(kind) for kind in ("original", "plain")]
        originals, ours = (Federation(place, openfl_python, stack, {}) for place in places)
        envoys = [originals.original(name) for name in NAMES]
        nodes = [ours.node(name) for name in NAMES]
        people = originals.submit(), ours.submit()
        yardstick, outcome = originals.outcome(people[0]), ours.outcome(people[1])
        return end(originals, yardstick, envoys), end(ours, outcome, nodes)


def end(federation: Federation, outcome: Outcome, children: Sequence[Child]) -> Ended:
    """Stop the children of a federation, and take in what they said to the end."""
    codes = {child.name: child.stop() for child in children}
    while not federation.lines.empty():
        line = federation.lines.get()
        if line.source in federation.views:
            federation.views[line.source] = view_after(federation.views[line.source], line.text)
    return Ended(outcome, federation.views, codes)
