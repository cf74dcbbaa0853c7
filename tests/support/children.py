"""Experiments' processes for the tests: what they are made of, and pipes through which they speak."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedenvoy.cancel import Cancel
from fedenvoy.engines.callable import CallableEngine
from fedenvoy.engines.process import ChildResult, child_environment, run_child, visible_devices
from fedenvoy.ports import RunSpec

SHARD = """
class Shard:
    sample_shape = ["2"]
    target_shape = ["1"]
    def __init__(self, **params):
        import os
        self.params, self.made_in = params, os.getcwd()
"""
DEADLINE = 30.0


class Pipe:
    """A named pipe that processes open for writing: lines come through, and its end means that all of them are gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def line(self) -> str:
        text = b""
        while not text.endswith(b"\n"):
            part = self._read()
            assert part, "the pipe ended without a further line"
            text += part
        return text.decode().strip()

    def wait_end(self) -> None:
        while self._read():
            pass

    def _read(self) -> bytes:
        assert select.select([self._reader], [], [], DEADLINE)[0], "nothing came, and no end"
        return os.read(self._reader, 1)

    def close(self) -> None:
        os.close(self._reader)


def make(home: Path, source: str, name: str = "run", **files: str) -> RunSpec:
    """Lay out a run whose experiment is `source`, the body of `tasks.train(shard, devices, plan)`."""
    run_dir = home.parent / name
    workspace = run_dir / "workspace"
    (workspace / "plan").mkdir(parents=True)
    (workspace / "plan/plan.yaml").write_text(
        "engine: callable\ncallable: {entry: 'src.tasks:train', params: {1: one}}\n"
    )
    (workspace / "src").mkdir()
    (workspace / "src/__init__.py").touch()
    body = textwrap.indent(textwrap.dedent(source), "    ")
    (workspace / "src/tasks.py").write_text(
        f"import json, os, signal, subprocess, sys, threading, time\ndef train(shard, devices, plan):\n{body}\n"
    )
    for file, content in files.items():
        (workspace / f"{file}.py").write_text(content)
    return RunSpec(
        run_dir=run_dir,
        workspace=workspace,
        home=home,
        shard_name="site",
        shard={"template": "shard.Shard", "params": {"labels": {0: "cat"}}},
        devices=visible_devices((3, 5)),
        plan_path=workspace / "plan/plan.yaml",
    )


def run(
    spec: RunSpec, cancel: Cancel | None = None, *, grace: float = DEADLINE, timeout: float | None = None, **env: str
) -> ChildResult:
    return run_child(
        spec,
        CallableEngine().program(),
        Path(sys.executable),
        env={**child_environment(os.environ, (3, 5)), **env},
        grace=grace,
        cancel=cancel or Cancel(),
        timeout=timeout,
    )


@contextlib.contextmanager
def running(spec: RunSpec, cancel: Cancel, *, grace: float = DEADLINE, **env: str) -> Iterator[list[Any]]:
    """Run in a job thread; the list gets the result or the exception."""
    outcome: list[Any] = []

    def job() -> None:
        try:
            outcome.append(run(spec, cancel, grace=grace, timeout=None, **env))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=job)
    thread.start()
    try:
        yield outcome
    finally:
        cancel.cancel()
        thread.join(DEADLINE)
        assert not thread.is_alive()
