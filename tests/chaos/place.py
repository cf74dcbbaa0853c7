"""One schedule's directory: the node's home and state, and the files by which experiments are held and watched."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from support.archives import archive

__all__ = ["NODE", "Experiment", "Place"]

NODE = "node-1"
"""The shard name of the agent under test."""

_CODE = """
import fcntl, os, pathlib, subprocess, sys, time
PLACE, NAME = pathlib.Path({files!r}), {name!r}


def run(shard, devices, plan):
    alone = os.open(PLACE / "alone", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (PLACE / "overlap").touch()
    (PLACE / (NAME + ".begun")).touch()
    while not (PLACE / (NAME + ".gate")).exists():
        time.sleep(0.02)
    {ending}
"""

_FINISH = "(PLACE / (NAME + '.done')).touch()\n    return {'done': 1}"
_ENDINGS = {
    "finish": _FINISH,
    "fail": "raise ValueError('the scanner is upside down')",
    "crash": "os.kill(os.getpid(), 9)",
    "leave": (
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n    "
        + _FINISH
    ),
}
"""How an experiment ends; one that leaves has a daemon of its own, which must not outlive it."""

_BACKEND = """
import pathlib, time, zipfile
PLACE, NAME = pathlib.Path({files!r}), {name!r}


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    (PLACE / (NAME + ".building")).touch()
    while not (PLACE / (NAME + ".gate")).exists():
        time.sleep(0.02)
    file = "gate_{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, file), "w") as wheel:
        info = "gate_{package}-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: gate-{package}\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return file
"""
_PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@dataclass(frozen=True, slots=True)
class Experiment:
    """What a user submits.

    Attributes:
        name: Unique in its schedule; letters, digits and hyphens.
        ending: One of `finish`, `fail`, `crash`, `leave`.
        installs: Whether it wants an environment of its own, whose build waits at the gate.

    """

    name: str
    ending: str = "finish"
    installs: bool = False

    def __str__(self) -> str:
        return f"{self.name}/{self.ending}{'/installs' if self.installs else ''}"


class Place:
    """The directory; everything of one schedule lies below it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = root / "files"
        self.home = root / "home"
        self.state = root / "state"
        self.tmp = root / "tmp"
        self.links = root / "links"
        for directory in (self.files, self.home, self.tmp, self.links):
            directory.mkdir(parents=True, exist_ok=True)
        shards = Path(__file__).parent.parent / "support" / "shards.py"
        (self.home / "my_shard.py").write_bytes(shards.read_bytes())

    @property
    def journal(self) -> Path | None:
        """The node's journal; None before there is one."""
        return next(self.state.glob("*/journal.sqlite3"), None)

    @property
    def runs(self) -> list[Path]:
        """What lies in the directory of runs."""
        return sorted(self.state.glob("*/runs/*"))

    def archive(self, experiment: Experiment) -> bytes:
        """Give an experiment's archive; it is held at `gate` wherever it can be."""
        code = _CODE.format(files=str(self.files), name=experiment.name, ending=_ENDINGS[experiment.ending])
        requirements = self._package(experiment.name) if experiment.installs else None
        return archive(code, requirements=requirements)

    def _package(self, name: str) -> str:
        """Make a source distribution whose build waits at the gate, and give the requirement for it."""
        package = name.replace("-", "_")
        path = self.links / f"gate_{package}-1.0.tar.gz"
        backend = _BACKEND.format(files=str(self.files), name=name, package=package)
        content = {"pyproject.toml": _PROJECT, "backend.py": backend, "PKG-INFO": ""}
        content["PKG-INFO"] = f"Metadata-Version: 2.1\nName: gate-{name}\nVersion: 1.0\n"
        with tarfile.open(path, "w:gz") as packed:
            for file, text in content.items():
                member = tarfile.TarInfo(f"gate_{package}-1.0/{file}")
                member.size = len(text.encode())
                packed.addfile(member, io.BytesIO(text.encode()))
        return f"--no-index\ngate-{name}==1.0\n"

    def open_gate(self, name: str) -> None:
        """Let an experiment go on."""
        (self.files / f"{name}.gate").touch()

    def has(self, name: str, mark: str) -> bool:
        """Whether an experiment left a mark: `building`, `begun` or `done`."""
        return (self.files / f"{name}.{mark}").exists()

    @property
    def overlapped(self) -> bool:
        """Whether two experiments ever ran at once."""
        return (self.files / "overlap").exists()
