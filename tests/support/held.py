"""A file that an experiment holds for as long as its process lives, whatever namespaces that lives in."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

HOLD = """
import fcntl, os
def hold(path):
    held = os.open(path + '.new', os.O_WRONLY | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.replace(path + '.new', path)
"""
"""For an experiment: `hold(path)` makes the file, and lets go of it at the process's end only."""


def is_held(path: Path) -> bool:
    """Whether a process that made the file lives."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
