"""Keeps the cache of environments from growing for ever: notes each use, and removes what nobody used for long.

Several agents may share a cache. Whoever uses an environment holds a shared lock on a file in it, and touches that
file; whoever removes one holds it alone, and the lock under which it would be built too.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fedenvoy.workspace.runs import remove_run

__all__ = ["MARKER", "in_use", "is_complete", "note_use", "prune"]

logger = logging.getLogger(__name__)

MARKER = ".complete"
"""A file that an environment has once it is whole."""
USED = ".used"


def is_complete(place: Path) -> bool:
    """Whether an environment is whole, and the interpreter that it was made from still there."""
    return (place / MARKER).exists() and (place / "bin" / "python").exists()


def note_use(place: Path) -> bool:
    """Note that an environment is used from now on; tell whether it is there and whole."""
    if not is_complete(place):
        return False
    try:
        with in_use(place):
            return is_complete(place)  # it may have been removed while its lock was waited for
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def in_use(place: Path) -> Iterator[None]:
    """Keep an environment from being removed, by whichever agent; raises OSError where it is gone."""
    descriptor = os.open(place / USED, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(descriptor)
        yield
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def prune(root: Path, keep: float) -> tuple[str, ...]:
    """Remove the environments that nobody used for `keep` seconds, and what builds that were cut off left.

    Args:
        root: The cache.
        keep: Seconds; 0: nothing is ever removed.

    Returns:
        The digests of those that are gone.

    """
    if not keep:
        return ()
    digests = sorted({name.partition(".")[0] for name in os.listdir(root)})  # noqa: PTH208 - names, not paths
    gone = tuple(digest for digest in digests if _is_old(root, digest, keep) and _remove(root, digest, keep))
    if gone:
        logger.info("removed %d environments that were not used for %.0f days", len(gone), keep / 86400)
    return gone


def _is_old(root: Path, digest: str, keep: float) -> bool:
    """Whether there is something to remove, and no trace of its use is younger than `keep` seconds."""
    place = root / digest
    times = _times(place / MARKER, place / USED, *_beside(root, digest)) or _times(place)
    return bool(times) and time.time() - max(times) > keep


def _times(*paths: Path) -> list[float]:
    """Give when those of the paths that exist were changed last."""
    times = []
    for path in paths:
        with contextlib.suppress(OSError):
            times.append(path.lstat().st_mtime)
    return times


def _beside(root: Path, digest: str) -> list[Path]:
    return [root / f"{digest}.{kind}" for kind in ("requirements.txt", "constraints.txt", "log")]


def _remove(root: Path, digest: str, keep: float) -> bool:
    """Remove an environment unless somebody builds or uses it at this moment."""
    place = root / digest
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_alone(root / f"{digest}.lock"))
            if place.is_dir():
                held.enter_context(_alone(place / USED))
        except OSError:
            return False
        if place.is_dir() and not _is_old(root, digest, keep):
            return False  # somebody built or used it since the first look
        (place / MARKER).unlink(missing_ok=True)
        for path in _beside(root, digest):
            path.unlink(missing_ok=True)
        return remove_run(place)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a file's lock alone; raises BlockingIOError at once where another holds it."""
    fresh = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if fresh:
            os.utime(descriptor, (0, 0))  # made by this look, which is no use
        yield
    finally:
        os.close(descriptor)
