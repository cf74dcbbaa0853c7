"""An experiment's requirements, the first time and again: an environment of its own against pip in the node's."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from bench.bed import FILES, Bed
from bench.records import FEDENVOY, OPENFL, Series

REQUIREMENTS = ("pandas==2.2.2", "scikit-learn==1.5.1", "numpy==1.26.4")
"""What many an experiment asks for."""
PATIENCE = 600.0


def measure(bed: Bed) -> tuple[Series, ...]:
    """Install the same wheels from a directory; the first round warms the disk's cache and is not counted.

    OpenFL's side is what its envoy runs, `python -m pip install -r requirements.txt`, in a fresh virtual environment,
    since it would be found installed in the envoy's own from the second round on.
    """
    wheels = bed.directory("wheels")
    run(bed, wheels, str(bed.environments.openfl), "-m", "pip", "download", "--quiet", "-d", str(wheels), *REQUIREMENTS)
    first: dict[str, list[float]] = {OPENFL: [], FEDENVOY: []}
    again: dict[str, list[float]] = {OPENFL: [], FEDENVOY: []}
    for number in range(bed.runs + 1):
        for name, once in ((OPENFL, _pip(bed, wheels)), (FEDENVOY, _ours(bed, wheels))):
            cold, warm = once
            if number:
                first[name].append(cold)
                again[name].append(warm)
    note = f"{', '.join(REQUIREMENTS)} from a directory of wheels, with empty caches: no network is in it"
    return (
        Series("an experiment's requirements, the first time", "s", first, note=note),
        Series("the same requirements again", "s", again, headline=True, aside="no network, no installer"),
    )


def _pip(bed: Bed, wheels: Path) -> tuple[float, float]:
    place = bed.directory("original-requirements")
    run(bed, place, str(bed.environments.openfl), "-m", "venv", "node")
    (place / "requirements.txt").write_text("\n".join(REQUIREMENTS) + "\n", "utf-8")
    argv = [str(place / "node/bin/python"), "-m", "pip", "install", "--no-index", "--find-links", str(wheels)]
    seconds = []
    for _ in range(2):
        begun = time.monotonic()
        run(bed, place, *argv, "--quiet", "-r", "requirements.txt")
        seconds.append(round(time.monotonic() - begun, 4))
    return seconds[0], seconds[1]


def _ours(bed: Bed, wheels: Path) -> tuple[float, float]:
    """The second time in a process of its own, as after a restart; the agent's imports are not in it."""
    place = bed.directory("ours-requirements")
    argv = [str(bed.environments.fedenvoy), str(FILES / "make_environment.py"), str(place), str(wheels), *REQUIREMENTS]
    cold, warm = (round(float(json.loads(run(bed, place, *argv))["seconds"]), 4) for _ in range(2))
    return cold, warm


def run(bed: Bed, place: Path, *argv: str) -> str:
    """Run a program to its end in `place`, and give what it printed; raises CalledProcessError."""
    environ = bed.environment(place)
    done = subprocess.run(argv, cwd=place, env=environ, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    return done.stdout
