"""What the agent does while a child constructs the shard descriptor: both take about as long, and run side by side."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from fedenvoy.cancel import Cancel
from fedenvoy.config import ShardSource
from fedenvoy.engines.descriptors import describe
from fedenvoy.errors import ShardError

PYTHON = Path(sys.executable)
PATIENT = """
import os, pathlib, time
class Shard:
    sample_shape = target_shape = [1]
    def __init__(self):
        pathlib.Path("pid").write_text(f"{os.getpid()}\\n")
        end = time.monotonic() + 10
        while not pathlib.Path("go").exists():
            assert time.monotonic() < end, "nothing was done meanwhile"
            time.sleep(0.01)
"""


def test_something_is_done_while_the_child_runs(tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text(PATIENT)
    source = ShardSource("patient.Shard")
    found = describe(source, tmp_path, PYTHON, Cancel(), meanwhile=(tmp_path / "go").touch)
    assert found.sample_shape == ("1",)


def test_an_interpreter_that_is_not_there_is_told_whatever_was_done_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="could not be started"):
        describe(ShardSource("a.B"), tmp_path, tmp_path / "no-python", Cancel(), meanwhile=(tmp_path / "go").touch)


def test_no_child_outlives_an_error_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text(PATIENT)
    pid = tmp_path / "pid"

    def fail() -> None:
        end = time.monotonic() + 10
        while not (pid.exists() and pid.read_text().endswith("\n")):
            assert time.monotonic() < end, "the child did not come so far"
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        describe(ShardSource("patient.Shard"), tmp_path, PYTHON, Cancel(), timeout=20, meanwhile=fail)
    assert not Path(f"/proc/{int(pid.read_text())}").exists()
