"""Fifty experiments in a row on one node: what it weighs must not grow with what it has done.

Every fifth one crashes, and every fifth one takes more memory than it may, so that the ways out are walked as well.
"""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

from fedenvoy.testing import SandboxDirector

from bench.bed import OURS, PATIENCE, Bed
from bench.processes import Program
from bench.records import Series

AFTER = (5, 20, 35, 50)
"""After how many experiments the node is weighed; the first few load what is loaded once."""
SETTLE = 2.0
"""Seconds until what belonged to the last experiment is gone."""
KINDS = ("return {'done': 1}",) * 3 + ("import os; os.abort()", "return {'done': len(bytearray(2 ** 40))}")
"""What they do, in turn."""


def measure(bed: Bed) -> tuple[Series, ...]:
    """Run them all and weigh the node between them."""
    weights: dict[str, dict[str, list[float]]] = {"memory": {}, "descriptors": {}, "threads": {}}
    with SandboxDirector(period=5.0) as director, bed.node(OURS, "127.0.0.1", director.address.port) as node:
        for number in range(AFTER[-1]):
            name = f"job_{number}"
            director.offer(name, _archive(name, KINDS[number % len(KINDS)]), [node.cwd.name])
            node.wait_line("--> Reporting", PATIENCE, number=number + 1)
            director.remove(name)
            if number + 1 in AFTER:
                time.sleep(SETTLE)
                for what, amount in _weight(node).items():
                    weights[what][f"after {number + 1}"] = [amount]
    return (
        Series("50 experiments in a row: resident memory (RSS) of the node", "MB", weights["memory"]),
        Series("50 experiments in a row: open descriptors", "", weights["descriptors"]),
        Series("50 experiments in a row: threads, gRPC's own included", "", weights["threads"]),
    )


def _weight(node: Program) -> dict[str, float]:
    found = node.footprint()
    descriptors = len(list(Path(f"/proc/{node.pid}/fd").iterdir()))
    return {"memory": round(found.rss, 2), "descriptors": descriptors, "threads": found.threads}


def _archive(module: str, body: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plan/plan.yaml", f"engine: callable\ncallable:\n  entry: {module}:run\n")
        archive.writestr(f"{module}.py", f"def run(shard, devices, plan):\n    {body}\n")
    return packed.getvalue()
