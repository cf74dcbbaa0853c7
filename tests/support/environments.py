"""Environments of experiments for the tests: made by the real uv from wheels made here, without any network."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.cancel import Cancel
from fedenvoy.config import RequirementsSettings
from fedenvoy.ports import EngineNeeds
from fedenvoy.workspace.environments import Environments, Locked, RequirementsError
from fedenvoy.workspace.installer import Confine

PYTHON = Path(sys.executable)
BARE = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
DEADLINE = 30.0


def wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """Make a package whose module says its version."""
    record = f"{name}-{version}.dist-info/RECORD"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{name}-{version}.dist-info/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{path},sha256={digest},{len(content)}")
        archive.writestr(record, "\n".join([*lines, f"{record},,"]) + "\n")


def make_wheels(folder: Path) -> Path:
    """Make the packages that most tests choose from."""
    for name, release in (("alpha", "1.0"), ("alpha", "2.0"), ("protobuf", "3.20.3")):
        wheel(folder, name, release)
    wheel(folder, "beta", "1.0", "alpha<2")
    return folder


class Node:
    """A node's environments, with what most of these tests do not vary."""

    def __init__(self, tmp_path: Path, wheels: Path, **environ: str) -> None:
        self.root = tmp_path / "state" / "environments"
        self.workspace = tmp_path / "workspace"
        self.workspace.mkdir(exist_ok=True)
        nowhere = (tmp_path / "nowhere").as_uri()
        environ = {"UV_FIND_LINKS": str(wheels), "UV_INDEX_URL": nowhere, **environ}
        self.confine: Confine | None = None
        self.environ = {**BARE, "UV_HTTP_RETRIES": "0", **environ}

    def build(
        self,
        requirements: str,
        *,
        site: Path | None = None,
        needs: tuple[str, ...] = (),
        inherit: bool = False,
        cancel: Cancel | None = None,
        timeout: float = 60,
        pause: float = 0.01,
        locked: Locked | None = None,
        **settings: Any,
    ) -> Path:
        return self.environments(pause=pause, timeout=timeout, **settings).build(
            requirements=requirements,
            site=site,
            needs=EngineNeeds(packages=needs),
            workspace=self.workspace,
            inherit=inherit,
            cancel=cancel or Cancel(),
            locked=locked,
        )

    def environments(self, *, pause: float = 0.01, **settings: Any) -> Environments:
        settings = {"timeout": 60, **settings}
        return Environments(
            self.root.parent,
            RequirementsSettings(**settings),
            None,
            pause=pause,
            environ=self.environ,
            confine=self.confine,
        )

    def lock(
        self, requirements: str, *, site: Path | None = None, needs: tuple[str, ...] = (), **settings: Any
    ) -> Locked:
        return self.environments(**settings).lock(
            requirements=requirements,
            site=site,
            needs=EngineNeeds(packages=needs),
            workspace=self.workspace,
            inherit=False,
            cancel=Cancel(),
        )

    def failure(self, requirements: str, **options: object) -> RequirementsError:
        with pytest.raises(RequirementsError) as caught:
            self.build(requirements, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert self.left() == [], "a failed environment was left"
        return caught.value

    def left(self) -> list[str]:
        """Give the names of what is there, besides locks and notes of use."""
        return [path.name for path in self.root.glob("*") if path.suffix not in {".lock", ".pins", ".used"}]


def version(python: Path, name: str) -> str:
    code = f"import {name}; print({name}.VERSION)"
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def source(folder: Path, name: str, code: str, *, static: bool = False) -> Path:
    """Make a source distribution whose build runs `code` first, with `HERE` its directory.

    Its dependencies are known only by building it, unless `static`: then it is built only when it is installed.
    """
    content = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n' + ("" if static else 'dynamic = ["dependencies"]\n'),
        "PKG-INFO": f"Metadata-Version: {'2.2' if static else '2.1'}\nName: {name}\nVersion: 1.0\n",
        "backend.py": BACKEND.replace("NAME", name).replace("CODE", repr(code)),
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for file, text in content.items():
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text.encode())
            packed.addfile(member, io.BytesIO(text.encode()))
    return path


BACKEND = """
import os, zipfile
HERE = os.path.dirname(os.path.abspath(__file__))
exec(CODE)
get_requires_for_build_wheel = lambda *_: []
def build_wheel(directory, *_):
    info = "NAME-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(directory, "NAME-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("NAME.py", "VERSION = '1.0'\\nFOUND = %r\\n" % (globals().get("FOUND"),))
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: NAME\\nVersion: 1.0\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", "")
    return "NAME-1.0-py3-none-any.whl"
"""

SLOW = """
import os, sys, time
def build_wheel(*_):
    with open(BUILDING, "w") as pipe:
        pipe.write("x")
        pipe.flush()
        time.sleep(3600)
get_requires_for_build_wheel = lambda *_: []
"""


def slow_package(node: Node, tmp_path: Path) -> Path:
    """Give a pipe that is open while a package is being built, which takes for ever."""
    source = node.workspace / "slow"
    source.mkdir()
    building = tmp_path / "building"
    os.mkfifo(building)
    (source / "backend.py").write_text(f"BUILDING = {str(building)!r}\n{SLOW}")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "slow"\nversion = "1"\n'
    )
    return building
