"""The locks by which the agents of a machine tell each other what they use: between processes, and over their ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fedenvoy.monitor import locks
from fedenvoy.monitor.locks import DeviceLocks, LockedError, default_directory

PROGRAM = """
import signal, sys
from pathlib import Path
from fedenvoy.monitor.locks import DeviceLocks
with DeviceLocks(Path(sys.argv[1])).held([('GPU-1', sys.argv[2] == 'alone')]):
    print('held', flush=True)
    signal.pause()
"""


@contextmanager
def another(directory: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another agent that holds card 1."""
    path = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", PROGRAM, str(directory), how]
    with subprocess.Popen(command, env=os.environ | path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("theirs", "ours"), [("alone", True), ("alone", False), ("shared", True)])
def test_who_wants_a_card_alone_keeps_others_off(tmp_path: Path, theirs: str, ours: bool) -> None:
    own = DeviceLocks(tmp_path)
    with another(tmp_path, theirs) as process:
        with (
            pytest.raises(LockedError, match=rf"^GPU-1 is in use by another agent \(process {process.pid}\)$"),
            own.held([("GPU-0", ours), ("GPU-1", ours)]),
        ):
            pass
        with own.held([("GPU-0", True)]):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with own.held([("GPU-1", True)]):
            pass


def test_agents_that_can_bear_each_other_share_and_know_it(tmp_path: Path) -> None:
    own = DeviceLocks(tmp_path)
    assert own.others(["GPU-0", "GPU-1"]) == ""
    with another(tmp_path, "shared") as process, own.held([("GPU-0", False), ("GPU-1", False)]):
        assert own.others(["GPU-0", "GPU-1"]) == f"GPU-1 by another agent (process {process.pid})"


def test_a_card_that_is_named_twice_does_not_lock_itself_out(tmp_path: Path) -> None:
    """A MIG instance and the card that it is a part of."""
    with DeviceLocks(tmp_path).held([("GPU-1", False), ("GPU-1", True), ("../../GPU 1", True)]):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu-.._.._GPU_1.lock", "gpu-GPU-1.lock"]


def test_nothing_is_followed_or_broken_where_somebody_else_was_before(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("content")
    (tmp_path / "gpu-GPU-1.lock").symlink_to(target)
    os.mkfifo(tmp_path / "gpu-GPU-2.lock")
    own = DeviceLocks(tmp_path)
    for name in ("GPU-1", "GPU-2"):
        with pytest.raises(OSError), own.held([(name, False)]):
            pass
    assert own.others(["GPU-1"]) == ""
    assert target.read_text() == "content"


def test_another_user_s_agent_can_lock_the_same_files(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        with DeviceLocks(tmp_path / "locks").held([("GPU-1", False)]):
            pass
    finally:
        os.umask(umask)
    assert (tmp_path / "locks").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "locks" / "gpu-GPU-1.lock").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("there", [True, False])
def test_the_common_place_is_used_where_it_can_be(tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_COMMON", tmp_path / "lock")
    if there:
        (tmp_path / "lock").mkdir()
    assert default_directory(tmp_path / "own") == (tmp_path / "lock" / "fedenvoy" if there else tmp_path / "own")
