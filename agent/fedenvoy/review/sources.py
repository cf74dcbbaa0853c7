"""Parses an experiment's Python files without running them, in a child process with limits; see `parsing`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from fedenvoy.review import flagged

__all__ = ["SourceFound", "parse"]

_MEMORY = 2**30
_CRASHES = 3
_PROGRAM = Path(__file__).with_name("parsing.py")


@frozen
class SourceFound:
    """What a Python file says of itself."""

    problem: str = ""
    """Why it is no Python, or could not be parsed."""
    flags: tuple[str, ...] = ()
    """What to look at twice: modules that it imports, builtins that it names."""


def parse(paths: Sequence[Path], seconds: float) -> list[SourceFound]:
    """Parse files; give one finding each, in their order.

    A file at which the parser's process ends or hangs is told as such, and the others are parsed by another process,
    a few times.

    Args:
        paths: The files.
        seconds: Time for all of them.

    """
    found: list[SourceFound] = []
    end = time.monotonic() + seconds
    for _ in range(_CRASHES):
        if len(found) == len(paths):
            return found
        answers, why = _ask(paths[len(found) :], end - time.monotonic())
        found += answers
        if len(found) < len(paths):
            found.append(SourceFound(f"cannot be parsed: {why}"))
    return found + [SourceFound("not parsed: the parser failed at others")] * (len(paths) - len(found))


def _ask(paths: Sequence[Path], seconds: float) -> tuple[list[SourceFound], str]:
    """Let a process parse; give its answers, and why there are no more of them."""
    task = {
        "paths": [str(path) for path in paths],
        "modules": sorted(flagged.MODULES),
        "builtins": sorted(flagged.BUILTINS),
        "memory": _MEMORY,
    }
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-X", "utf8", str(_PROGRAM)]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(task).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=max(0.1, seconds),
            check=False,
        )
        said, why = done.stdout, f"the parser ended with {done.returncode}"
    except subprocess.TimeoutExpired as expired:
        said, why = expired.stdout or b"", "it takes too long"
    except OSError as error:
        return [], f"the parser cannot be started: {error.strerror}"
    lines = said.split(b"\n")[:-1]
    return [SourceFound(one["problem"], tuple(one["names"])) for one in map(json.loads, lines)], why
