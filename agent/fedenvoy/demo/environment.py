"""An environment with the real OpenFL 1.6, made once by uv and kept. Never touches the environment that asks for it."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedenvoy.demo.deadline import Deadline, DemoError

__all__ = ["OPENFL", "find_python", "openfl_environment", "uv"]

OPENFL = ("openfl==1.6", "numpy<2", "pandas<3", "pip")
"""What a working OpenFL 1.6 is made of: it was published before the next major versions of numpy and pandas, and its
director and its front end import pip without asking for it."""

NEWEST = (3, 12)
"""The newest Python that OpenFL 1.6 and NumPy 1 run on."""


def uv(*arguments: str, deadline: Deadline, purpose: str) -> str:
    """Run uv and give what it printed.

    Args:
        arguments: Its command line.
        deadline: When to give up.
        purpose: What it is for, to be read after "could not".

    Raises:
        DemoError: It failed; the message holds its last lines.

    """
    from uv import find_uv_bin  # noqa: PLC0415 - only needed here

    try:
        done = subprocess.run(
            [find_uv_bin(), *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=deadline.check(purpose),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"{deadline.seconds:g} s were not enough to {purpose} (see --timeout)") from None
    if done.returncode != 0:
        words = " ".join(done.stderr.split()[-60:])
        raise DemoError(f"uv could not {purpose}: {words}")
    return done.stdout.strip()


def find_python(deadline: Deadline, versions: Sequence[str] = ("3.11", "3.10")) -> str:
    """Give an interpreter that OpenFL 1.6 runs on: one of `versions`, else this one. Nothing is downloaded.

    Raises:
        DemoError: There is none.

    """
    for version in versions:
        if found := _found(version, deadline):
            return found
    if sys.version_info[:2] <= NEWEST:
        return sys.executable
    here = ".".join(map(str, sys.version_info[:2]))
    raise DemoError(
        f"OpenFL 1.6 needs Python 3.10 to 3.12, and this machine has only {here}: "
        "install one, for example with 'uv python install 3.11', and run the demo again"
    )


def _found(version: str, deadline: Deadline) -> str:
    """Ask uv for an interpreter of this machine; empty when it has none of the version."""
    command = ("python", "find", "--system", "--no-python-downloads", version)
    try:
        return uv(*command, deadline=deadline, purpose=f"find Python {version}")
    except DemoError:
        deadline.check("a Python for OpenFL")
        return ""


def openfl_environment(
    directory: Path, deadline: Deadline, *, python: str | None = None, requirements: Sequence[str] = OPENFL
) -> Path:
    """Make the environment, or find it made; give its interpreter.

    Args:
        directory: Where it lives; two programs may ask for the same one at once.
        deadline: When to give up.
        python: The interpreter it is made from; None: `find_python` decides.
        requirements: What is installed.

    Raises:
        DemoError: It cannot be made.

    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    interpreter = directory / "bin" / "python"
    # Written last: an environment without it was cut off while it was made.
    ready = directory / "fedenvoy-ready.json"
    wanted = json.dumps({"requirements": list(requirements), "python": python})
    with _lock(directory.with_name(directory.name + ".lock")):
        if ready.exists() and ready.read_text("utf-8") == wanted and interpreter.exists():
            return interpreter
        shutil.rmtree(directory, ignore_errors=True)
        base = python or find_python(deadline)
        purpose = "make the environment for OpenFL"
        uv("venv", "--quiet", "--python", base, str(directory), deadline=deadline, purpose=purpose)
        # Compiled once here: six programs import OpenFL at the same time soon, and some users forbid Python to write.
        install = ("pip", "install", "--quiet", "--compile-bytecode", "--python", str(interpreter))
        uv(*install, *requirements, deadline=deadline, purpose="install OpenFL")
        ready.write_text(wanted, "utf-8")
    return interpreter


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
