"""An archive's way into the node: download and unpacking by each side's own code, from one server; their memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.bed import FILES, Bed
from bench.records import FEDENVOY, OPENFL, Series

RAW = "a raw gRPC stream"
SIDES = {FEDENVOY: "fedenvoy", OPENFL: "openfl", RAW: "raw"}
SIZES = (512, 1024)
"""Megabytes (powers of 1024)."""
FILES_IN_IT = 16
PATIENCE = 300.0
Sample = tuple[float, float, float]


def measure(bed: Bed) -> tuple[Series, ...]:
    """Let all sides take in the same archive, in turn; the first turn of each size warms up."""
    series: list[Series] = []
    for size in SIZES:
        archive = bed.directory("archive") / "archive.zip"
        _write(archive, size)
        samples: dict[str, list[Sample]] = {name: [] for name in SIDES}
        with _served(bed, archive) as port:
            for number in range(bed.runs + 1):
                for name, side in SIDES.items():
                    sample = _take(bed, side, port)
                    if number:
                        samples[name].append(sample)
        archive.unlink()
        series += _series(size, samples)
    return tuple(series)


def _series(size: int, samples: dict[str, list[Sample]]) -> Iterator[Series]:
    both = {name: taken for name, taken in samples.items() if name != RAW}
    download = {name: [round(one[0], 3) for one in taken] for name, taken in samples.items()}
    total = {name: [round(one[0] + one[1], 3) for one in taken] for name, taken in both.items()}
    grown = {name: [round(one[2], 1) for one in taken] for name, taken in both.items()}
    note = "fedenvoy also hashes what it receives; the raw stream is written to a file, and nothing else"
    yield Series(f"download of {size} MB", "s", download, note=note)
    yield Series(f"download and unpacking of {size} MB", "s", total, headline=size == SIZES[-1])
    yield Series(f"memory beyond idle during that, {size} MB", "MB", grown)


def _write(path: Path, size: int) -> None:
    """Write an archive of random files, which pack to what they are: as weights of a model do."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("plan/plan.yaml", "engine: callable\ncallable:\n  entry: job:run\n")
        for number in range(FILES_IN_IT):
            with archive.open(f"weights/{number}.bin", "w") as file:
                for _ in range(size // FILES_IN_IT):
                    file.write(os.urandom(2**20))


@contextmanager
def _served(bed: Bed, archive: Path) -> Iterator[int]:
    argv = [str(bed.environments.fedenvoy), str(FILES / "serve_archive.py"), str(archive)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=bed.environment(bed.place)) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def _take(bed: Bed, side: str, port: int) -> Sample:
    place = bed.directory(side)
    python = bed.environments.openfl if side == "openfl" else bed.environments.fedenvoy
    argv = [str(python), str(FILES / "take_archive.py"), side, str(port)]
    os.sync()  # what the one before wrote must not be this one's work
    done = subprocess.run(
        argv, cwd=place, env=bed.environment(place), stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE
    )
    shutil.rmtree(place)
    download, unpacking, grown = json.loads(done.stdout.splitlines()[-1])
    return download, unpacking, grown
