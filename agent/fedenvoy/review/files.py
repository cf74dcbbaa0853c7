"""Small private files that are there whole or not at all: the reviews' own, in the node's state directory."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["private_directory", "read_json", "write_json"]

_LIMIT = 16 * 2**20


def private_directory(path: Path) -> Path:
    """Make sure that a directory is there, for this user alone; raises OSError where it cannot be made."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_json(path: Path, content: Any) -> None:
    """Write a file (0600) in place of the old one, and let it outlive a power cut; raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        json.dump(content, out)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_json(path: Path) -> Any:
    """Read a file; None where there is none, or none that can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as source:
            return json.loads(source.read(_LIMIT))
    return None
