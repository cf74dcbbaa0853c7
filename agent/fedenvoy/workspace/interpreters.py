"""Asks an interpreter what it is and what is installed in it, without becoming part of it."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from attrs import frozen

from fedenvoy.workspace.failures import RequirementsError
from fedenvoy.workspace.installer import uv_environment, uv_path

__all__ = ["Interpreter", "inspect", "installed", "satisfied"]

TIMEOUT = 60.0
_QUESTION = """
import json, site, sys, sysconfig
places = list(site.getsitepackages()) + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
prefixes = [sys.prefix, sys.base_prefix]
version = list(sys.version_info[:3])
print(json.dumps([sys.implementation.name, version, sys.executable, places, prefixes, sysconfig.get_platform()]))
"""
_DISTRIBUTION = re.compile(r"(.+)-([^-]+)\.(?:dist|egg)-info")


@frozen
class Interpreter:
    """A Python interpreter."""

    path: Path
    """Its program."""
    implementation: str
    """`cpython`, `pypy`, ..."""
    version: tuple[int, ...]
    """Major, minor, micro."""
    places: tuple[Path, ...]
    """The directories its packages are installed in; those that exist."""
    prefixes: tuple[Path, ...] = ()
    """Where it and its standard library lie."""
    platform: str = ""
    """What it was built for: `linux-x86_64`, ..."""


def inspect(python: Path) -> Interpreter:
    """Ask an interpreter; raises RequirementsError where it does not answer. This process's own answers at once."""
    if str(python) == sys.executable and "PYTHONHOME" not in os.environ:
        return _interpreter(python, _about_itself())
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONHOME", "PYTHONPATH"}}
    try:
        done = subprocess.run(
            [str(python), "-c", _QUESTION], capture_output=True, check=True, timeout=TIMEOUT, cwd="/", env=env
        )
        return _interpreter(python, json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise RequirementsError(f"the interpreter {python} (agent.python) cannot be used: {error}") from error


def _about_itself() -> list[Any]:
    """Answer the question for this process."""
    places = list(site.getsitepackages()) + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
    prefixes = [sys.prefix, sys.base_prefix]
    version = list(sys.version_info[:3])
    return [sys.implementation.name, version, sys.executable, places, prefixes, sysconfig.get_platform()]


def _interpreter(python: Path, answer: list[Any]) -> Interpreter:
    implementation, version, executable, places, prefixes, platform = answer
    existing = tuple(path for path in map(Path, places) if path.is_dir())
    home = tuple(dict.fromkeys(map(Path, prefixes)))
    return Interpreter(Path(executable or python), implementation, tuple(version), existing, home, platform)


def satisfied(python: Path, packages: tuple[str, ...], site: Path | None = None) -> bool:
    """Whether an interpreter has all these requirements installed already; asks nobody else for them.

    Args:
        python: The interpreter.
        packages: Requirement lines.
        site: A requirements file of this node's own, wanted as well.

    """
    if site is not None:
        packages = (*packages, "-r", str(site.absolute()))
    if not packages:
        return True
    command = ["pip", "install", "--dry-run", "--offline", "--no-deps", "--break-system-packages", "--python"]
    try:
        done = subprocess.run(
            [uv_path(), *command, str(python), *packages],
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            cwd="/" if site is None else site.absolute().parent,
            env=uv_environment(os.environ, Path("/nonexistent")),
        )
    except (OSError, subprocess.SubprocessError, RequirementsError):
        return False
    return done.returncode == 0 and b"Would make no changes" in done.stderr


def installed(places: tuple[Path, ...]) -> dict[str, str]:
    """Give name and version of what is installed in these directories; the first place counts."""
    found: dict[str, str] = {}
    for place in places:
        for entry in os.listdir(place):  # noqa: PTH208 - names, not paths
            match = _DISTRIBUTION.fullmatch(entry)
            if match:
                found.setdefault(re.sub(r"[-_.]+", "-", match.group(1)).lower(), match.group(2))
    return found
