"""`fedenvoy demo` as a user meets it: a real training on a terminal, an interruption, a deadline that is too short."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.sources import source_path

pytestmark = pytest.mark.timeout(180)

SEVEN = "Disconnected -> Registered -> Idle -> ReviewingPlan -> InstallingRequirements -> Training -> Reporting -> Idle"
NODES = ("hospital-a", "hospital-b")


@contextmanager
def demo(place: Path, *arguments: str, output: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """Run the command, with its temporary files under `place`; it must have ended with the block."""
    environment = {
        **os.environ,
        "PYTHONPATH": source_path(),
        "TMPDIR": str(place),
        "TERM": "xterm-256color",
        "COLUMNS": "100",
        "LINES": "40",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fedenvoy", "demo", *arguments],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def left_behind(place: Path) -> list[str]:
    """Give the command lines of all processes that have to do with a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue  # it ended meanwhile, or is somebody else's
            if str(place).encode() in command:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def read_terminal(descriptor: int, seconds: float) -> str:
    """Read all that is written to a terminal, until its other side is closed."""
    shown, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([descriptor], [], [], 1)[0]:
            continue
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # how Linux tells that the other side is closed
            return shown.decode()
        shown += piece
    pytest.fail(f"the demo did not end within {seconds} s; it showed {shown.decode()[-2000:]}")


def test_two_nodes_walk_through_all_seven_states_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        with demo(tmp_path, output=theirs) as process:
            os.close(theirs)
            shown = read_terminal(ours, 150)
            code = process.wait(10)
            assert process.stderr is not None
            assert (code, process.stderr.read()) == (0, "")
    finally:
        os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    # The live table, while it lasts.
    for state in ("starting", "Idle", "InstallingRequirements", "Training"):
        assert re.search(rf"hospital-a │ (. )?{state} ", plain), state
    # What remains.
    end = " ".join(plain.rpartition("hospital-a went through")[2].split())
    assert end.count(f"{SEVEN} -> Stopped") == len(NODES)
    for name in NODES:
        accuracy = re.search(rf"{name} +\d+ +\d+ +(\d\.\d+)", end)
        assert accuracy is not None
        assert float(accuracy[1]) >= 0.9
    assert list(tmp_path.iterdir()) == []
    assert left_behind(tmp_path) == []


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "Training" in line:
                break
        else:
            pytest.fail("".join(seen))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode not in {0, -signal.SIGINT}
    assert errors.count("\n") == 1
    assert "interrupted" in errors
    assert list(tmp_path.iterdir()) == []
    assert left_behind(tmp_path) == []


def test_a_deadline_that_is_too_short_is_one_sentence(tmp_path: Path) -> None:
    with demo(tmp_path, "--timeout", "1") as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    first, second = errors.splitlines()
    assert re.match(
        r"The demo failed: 1 s were not enough: still waiting for .*hospital-a is .* \(see --timeout\)", first
    )
    logs = Path(second.removeprefix("All logs are in "))
    assert (logs / "hospital-a" / "hospital-a.log").exists(), output
    assert left_behind(tmp_path) == []


def test_what_is_kept_is_all_in_one_directory(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    with demo(tmp_path, "--timeout", "1", "--keep", str(keep)) as process:
        process.communicate(timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]
    (run,) = keep.iterdir()
    assert {"certificates", "hospital-a", "hospital-b"} <= {path.name for path in run.iterdir()}
