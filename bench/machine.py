"""What is known of the machine and of the two environments, for the record; and patience until the machine is quiet."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from bench.records import Conditions

__all__ = ["Before", "conditions", "load", "versions", "wait_until_quiet"]

_ASK = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
_ASK_PYTHON = "import platform; print(platform.python_version())"
POLL = 5.0


class Before:
    """Taken when a part begins, so that the load it meets is told apart from the load it makes."""

    def __init__(self) -> None:
        self.load = load()


def load() -> float:
    """Give the load average of the last minute."""
    return os.getloadavg()[0]


def wait_until_quiet(limit: float, patience: float) -> bool:
    """Wait until the load average of the last minute is below `limit`; tell whether it came to that in time."""
    end = time.monotonic() + patience
    while load() >= limit:
        if time.monotonic() > end:
            return False
        time.sleep(POLL)
    return True


def versions(python: Path, names: Sequence[str]) -> dict[str, str]:
    """Give the versions of distributions in an interpreter's environment."""
    told = subprocess.run([python, "-c", _ASK, *names], check=True, capture_output=True, text=True).stdout
    found: dict[str, str] = json.loads(told)
    return found


def conditions(before: Before, python: Path, *, fedenvoy: Mapping[str, str], openfl: Mapping[str, str]) -> Conditions:
    """Give the record of the present moment, at the end of a part."""
    told = subprocess.run([python, "-c", _ASK_PYTHON], check=True, capture_output=True, text=True).stdout
    return Conditions(
        date=datetime.now(tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        python=told.strip(),
        load_before=round(before.load, 2),
        load_after=round(load(), 2),
        fedenvoy=fedenvoy,
        openfl=openfl,
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
