"""The two environments, on one Python: OpenFL 1.6 in one, the present sources of fedenvoy as a wheel in the other."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fedenvoy.demo.deadline import Deadline
from fedenvoy.demo.environment import openfl_environment, uv

from bench.machine import versions

__all__ = ["ROOT", "Environments", "prepare"]

ROOT = Path(__file__).parents[1]
SOURCES = ("agent", "statecharts")
DESCRIPTION = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
PATIENCE = 900.0


@dataclass(frozen=True)
class Environments:
    """Their interpreters, and what is installed in them, for the record."""

    openfl: Path
    fedenvoy: Path
    openfl_versions: dict[str, str]
    fedenvoy_versions: dict[str, str]


def prepare(cache: Path) -> Environments:
    """Make both, or find OpenFL's made; fedenvoy's is brought to the present sources each time.

    Both are compiled beforehand, so that no first start pays for it.
    """
    deadline = Deadline(PATIENCE)
    openfl = openfl_environment(cache / "openfl", deadline)
    fedenvoy = cache / "fedenvoy" / "bin" / "python"
    if not fedenvoy.exists():
        uv("venv", "--quiet", "--python", str(openfl), str(cache / "fedenvoy"), deadline=deadline, purpose="make one")
    with tempfile.TemporaryDirectory(prefix="fedenvoy-bench-") as place:
        wheel = _build(Path(place), deadline)
        install = ("pip", "install", "--quiet", "--compile-bytecode", "--python", str(fedenvoy))
        uv(*install, "--reinstall-package", "fedenvoy", str(wheel), deadline=deadline, purpose="install fedenvoy")
    return Environments(
        openfl,
        fedenvoy,
        versions(openfl, ["openfl", "grpcio", "protobuf", "numpy"]),
        {**versions(fedenvoy, ["fedenvoy", "grpcio", "protobuf"]), "commit": _commit()},
    )


def _build(place: Path, deadline: Deadline) -> Path:
    """Build the wheel from a copy: setuptools takes in whatever an earlier build left beside the sources."""
    copy = place / "source"
    copy.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in DESCRIPTION:
        shutil.copy(ROOT / name, copy)
    uv("build", "--wheel", "--quiet", "--out-dir", str(place), str(copy), deadline=deadline, purpose="build the wheel")
    (wheel,) = place.glob("*.whl")
    return wheel


def _commit() -> str:
    """Name the sources; with a plus where they differ from the commit."""
    told = _git("rev-parse", "--short", "HEAD")
    return f"{told}+" if told and _git("status", "--porcelain", "--", *SOURCES) else told or "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
