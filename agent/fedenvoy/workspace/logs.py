"""What past experiments printed, and why they failed, in full: one directory per run, few of them, and not for ever.

An experiment's output may quote the site's data, and so may the text of an exception. It stays here, for this user
alone.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

from fedenvoy.workspace.runs import remove_run

__all__ = ["MOST", "keep_log", "logs_directory", "prune_logs"]

MOST = 20
"""Runs whose logs are kept."""
PRINTED = ("child.log", "child.earlier.log", "child.latest.log")
"""What may lie in a run's directory, in the order in which it was printed."""
WORDS = "verdict.txt"


def logs_directory(state_dir: Path) -> Path:
    """Give the directory that holds the logs of past runs."""
    return state_dir / "logs"


def keep_log(state_dir: Path, run_dir: Path, words: str = "", *, retention: float) -> Path | None:
    """Move what a run printed to where it is kept, with what is to be said of it; old logs leave.

    Args:
        state_dir: The node's directory.
        run_dir: The run's; its processes have ended.
        words: What became of it; empty: what was written of it before stays.
        retention: Seconds that a log is kept; 0: none is.

    Returns:
        Where it is; None where nothing is kept, or the disk has no room for it.

    """
    if retention <= 0:
        prune_logs(state_dir, retention=retention)
        return None
    place = logs_directory(state_dir) / run_dir.name
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in PRINTED:
            _move(run_dir / name, place / name)
        if words:
            descriptor = os.open(place / WORDS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(words.rstrip("\n") + "\n")
    except OSError:
        remove_run(place)
        return None
    if not any(place.iterdir()):
        place.rmdir()
        return None
    prune_logs(state_dir, retention=retention)
    return place


def _move(source: Path, target: Path) -> None:
    """Move a plain file, and nothing else that an experiment may have put in its place."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISREG(source.lstat().st_mode):
            source.replace(target)


def prune_logs(state_dir: Path, *, retention: float, now: float | None = None) -> None:
    """Remove the logs that are too old, and those of all runs but the last.

    Args:
        state_dir: The node's directory.
        retention: Seconds that a log is kept.
        now: The time; None: the present.

    """
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        found += [(place.lstat().st_mtime, place) for place in logs_directory(state_dir).iterdir()]
    found.sort(reverse=True)
    oldest = (time.time() if now is None else now) - retention
    for number, (when, place) in enumerate(found):
        if number >= MOST or when < oldest:
            remove_run(place)
