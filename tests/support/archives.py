"""Experiment archives for the tests, made in memory."""

from __future__ import annotations

import io
import zipfile

GOOD = "def run(shard, devices, plan):\n    return {'sum': sum(shard.get_dataset('train'))}\n"
"""An experiment that ends well at once."""


def archive(code: str = GOOD, *, plan: str | None = None, requirements: str | None = None, **files: str) -> bytes:
    """Zip an experiment for the `callable` engine; its entry is `experiment_code:run`."""
    content = {
        "plan/plan.yaml": "engine: callable\ncallable:\n  entry: experiment_code:run\n" if plan is None else plan,
        "experiment_code.py": code,
        **files,
    }
    if requirements is not None:
        content["requirements.txt"] = requirements
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, text in content.items():
            zipped.writestr(name, text)
    return buffer.getvalue()
