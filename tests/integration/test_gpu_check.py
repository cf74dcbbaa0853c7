"""The script that checks everything on a machine with GPUs: on one that pretends to have some, and on one without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.nvml import FakeMachine

ROOT = Path(__file__).parents[2]
UNCONFINED = ("--isolation", "process")
"""The libraries of the pretended machine lie where a confined experiment sees nothing."""


def check(*options: str, gpus: FakeMachine | None = None) -> tuple[int, str]:
    """Run it; give its exit code and what it printed."""
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "gpu_check.py"), *options],
        env=environment | {"PYTHONPATH": path} | (gpus.environment if gpus else {}),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_without_a_gpu_it_says_so_in_one_sentence() -> None:
    code, printed = check()
    assert code == 2
    assert printed == (
        "There is no NVIDIA driver that answers on this machine (NVMLError_LibraryNotFound: NVML Shared Library Not "
        "Found): nothing was checked.\n"
    )


@pytest.mark.nightly
def test_with_a_driver_and_no_gpu_it_says_so(tmp_path: Path) -> None:
    assert check(gpus=FakeMachine(tmp_path, 0)) == (
        2,
        "The NVIDIA driver of this machine sees no GPU: nothing was checked.\n",
    )


def test_what_fails_is_told_in_the_table(tmp_path: Path) -> None:
    gpus = FakeMachine(tmp_path, 2)
    gpus.fail("nvmlDeviceGetTemperature", 999, slot=1)
    gpus.change(0, throttle=None)
    code, printed = check("--only", "driver", "names", "fields", gpus=gpus)
    assert code == 1
    assert re.findall(r"^(pass|FAIL)  (\w+)", printed, re.MULTILINE) == [
        ("pass", "driver"),
        ("pass", "names"),
        ("FAIL", "fields"),
    ]
    assert "GPU 1: temperature: NVMLError_Unknown: Unknown Error" in printed
    assert printed.endswith("2 of 3 checks passed on 2 GPUs.\n")


@pytest.mark.nightly
def test_all_checks_pass_on_a_machine_in_good_health(tmp_path: Path) -> None:
    code, printed = check(*UNCONFINED, gpus=FakeMachine(tmp_path, 3, cuda=True))
    assert "FAIL" not in printed, printed
    assert code == 0
    assert printed.endswith("13 of 13 checks passed on 3 GPUs.\n")


@pytest.mark.nightly
def test_a_process_that_sees_other_cards_fails_it(tmp_path: Path) -> None:
    """The neighbour: the numbers are right and the processes are not."""
    gpus = FakeMachine(tmp_path, 2, cuda=True)
    gpus.fail("nvmlDeviceGetUUID", 4)
    code, printed = check(*UNCONFINED, "--only", "visibility", gpus=gpus)
    assert code == 1, printed
