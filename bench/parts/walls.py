"""What isolation costs when a program starts: the same one at each level, in turn, from its launch to its end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fedenvoy.cancel import Cancel
from fedenvoy.engines.interpreters import places_of
from fedenvoy.engines.launch import Launch, launch
from fedenvoy.ports import Confinement

from bench.bed import Bed
from bench.records import Series

PYTHON = Path(sys.executable)
EACH = 3
"""Launches for each sample that was asked for: a single one is short."""


def measure(bed: Bed) -> tuple[Series, ...]:
    """Launch a Python that does nothing."""
    levels = {
        "process": Confinement(),
        "sandbox": Confinement(level="sandbox", read=places_of(PYTHON)),
    }
    seconds: dict[str, list[float]] = {level: [] for level in levels}
    for number in range(EACH * bed.runs):
        for level, walls in levels.items():
            place = bed.directory(f"{level}-{number}")
            what = Launch(argv=(str(PYTHON), "-I", "-S", "-c", ""), cwd=Path("/"), env={}, confinement=walls)
            began = time.perf_counter()
            ending = launch(what, place, grace=2.0, cancel=Cancel())
            seconds[level].append(round(time.perf_counter() - began, 4))
            assert ending.status == "exit 0", ending.tail
    return (Series("a Python that does nothing, from its launch until nothing is left of it", "s", seconds),)
