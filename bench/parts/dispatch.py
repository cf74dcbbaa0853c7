"""An experiment's name received to the first line of the experiment's own code, in an environment that is warm."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fedenvoy.demo.child import Child
from fedenvoy.demo.federation import Director, copy_files, quiet_port
from fedenvoy.testing import SandboxDirector

from bench.bed import BOTH, MARK, MARKS, OURS, PATIENCE, Bed, NodeKind
from bench.processes import Program, Sighting, run_seconds
from bench.records import FEDENVOY, Series

SUBMITTED = 150.0
"""Seconds for one submission to its end; the director's own clocks take up to 20 of them."""
FUTURE = "from __future__ import annotations\n"
OPENFL_IMPORT = "importing openfl.federated alone"
NUMPY_IMPORT = "importing numpy alone"
PYTHON = "a bare Python"
FIRST_LINE = (
    f"import os, time; {MARK!r} in os.environ and print(__name__, time.time(), file=open(os.environ[{MARK!r}], 'a'))\n"
)
"""What an experiment's module begins with."""
STATEMENTS = {OPENFL_IMPORT: "import importlib.util, openfl.federated", NUMPY_IMPORT: "import numpy", PYTHON: "pass"}
"""What the interpreter of the experiments needs for itself, measured between the samples."""


def measure(bed: Bed) -> tuple[Series, ...]:
    """Take both comparisons."""
    return (_openfl(bed), _callable(bed))


def _openfl(bed: Bed) -> Series:
    """Let the real director hand one experiment after the other to one node, then to the other; the first warms up."""
    names = [*(kind.name for kind in BOTH), OPENFL_IMPORT]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with bed.director() as director, _nodes(bed, director) as nodes:
        for number in range(bed.runs + 1):
            for kind, node in nodes.items():
                taken = _submit(bed, director, kind, node, number)
                if number:
                    seconds[kind.name].append(taken)
            if number:
                seconds[OPENFL_IMPORT].append(_alone(bed, OPENFL_IMPORT))
    note = (
        "OpenFL's envoy runs the experiment inside its own process, so that it takes the node down with it when it "
        "crashes, and has everything imported; fedenvoy starts a process for it, and most of the time is the import "
        "of OpenFL there"
    )
    title = "offer to first line of the experiment, OpenFL's collaborator"
    aside = "OpenFL's runs inside the node, ours in a process of its own that imports OpenFL"
    return Series(title, "s", seconds, headline=True, note=note, aside=aside)


@contextmanager
def _nodes(bed: Bed, director: Director) -> Iterator[dict[NodeKind, Program]]:
    with ExitStack() as stack:
        yield {kind: stack.enter_context(bed.node(kind, director.host, director.port)) for kind in BOTH}


def _submit(bed: Bed, director: Director, kind: NodeKind, node: Program, number: int) -> float:
    """Submit an experiment for one node and follow it to its end; give the seconds from its offer to its first line.

    Each has a module name of its own: OpenFL's envoy would run the first one's code again.
    """
    shard = node.cwd.name
    module = f"job_{kind.short}_{number}"
    place = bed.directory(f"scientist-{kind.short}")
    work = copy_files(place / "experiment", "plane_experiment.py")
    source = (work / "plane_experiment.py").read_text("utf-8")
    (work / "plane_experiment.py").rename(work / f"{module}.py")
    (work / f"{module}.py").write_text(source.replace(FUTURE, FUTURE + FIRST_LINE, 1), "utf-8")
    script = copy_files(place, "plane_submit.py") / "plane_submit.py"
    script.write_text(script.read_text("utf-8").replace("plane_experiment", module), "utf-8")
    (place / "submit_to.py").write_bytes((Path(__file__).parents[1] / "files" / "submit_to.py").read_bytes())
    argv = [str(director.python), str(place / "submit_to.py"), "--host", director.host, "--port", str(director.port)]
    argv += ["--aggregator-port", str(quiet_port()), "--name", module, "--rounds", "1", "--nodes", shard]
    argv += ["--timeout", f"{SUBMITTED:g}", "--disable-tls"]
    seen = node.count(kind.offered)
    with Child("scientist", argv, cwd=work, log=place / "scientist.log", environment={"HOME": str(place)}) as person:
        if person.wait(SUBMITTED) != 0:
            raise RuntimeError(f"{module} was not finished: {person.tail()}")
    return _since(node.wait_line(kind.offered, PATIENCE, number=seen + 1), node, module)


def _callable(bed: Bed) -> Series:
    """Let our own director hand out experiments for the `callable` engine; the first warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in (FEDENVOY, NUMPY_IMPORT, PYTHON)}
    with SandboxDirector(period=5.0) as director, bed.node(OURS, "127.0.0.1", director.address.port) as node:
        for number in range(bed.runs + 1):
            module = f"job_{number}"
            director.offer(module, _archive(module), [node.cwd.name])
            offer = node.wait_line(OURS.offered, PATIENCE, number=number + 1)
            node.wait_line("--training_finished-->", PATIENCE, number=number + 1)
            director.finish(module)
            if number:
                seconds[FEDENVOY].append(_since(offer, node, module))
                seconds[NUMPY_IMPORT].append(_alone(bed, NUMPY_IMPORT))
                seconds[PYTHON].append(_alone(bed, PYTHON))
    note = "NumPy is imported by the shard descriptor, which is constructed in the experiment's process before it"
    return Series("offer to first line of the experiment, a function", "s", seconds, note=note)


def _archive(module: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plan/plan.yaml", f"engine: callable\ncallable:\n  entry: {module}:run\n")
        archive.writestr(f"{module}.py", f"{FIRST_LINE}\ndef run(shard, devices, plan):\n    return {{'done': 1}}\n")
    return packed.getvalue()


def _since(offer: Sighting, node: Program, module: str) -> float:
    """Give the seconds from an offer to the first line of a module, as the module noted it."""
    for line in (node.cwd / MARKS).read_text("ascii").splitlines():
        name, at = line.split()
        if name == module:
            return round(float(at) - offer.wall, 4)
    raise RuntimeError(f"{module} did not note that it ran")


def _alone(bed: Bed, name: str) -> float:
    argv = [str(bed.environments.openfl), "-c", STATEMENTS[name]]
    return round(run_seconds(argv, bed.environment(bed.place)), 4)
