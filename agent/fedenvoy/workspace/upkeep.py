"""Keeps the cache of environments from growing for ever: notes each use, and removes what nobody used for long.

An environment itself is never written to; what is known of it lies beside it, under its name with a suffix. Several
agents may share a cache. Whoever uses an environment holds a shared lock on its `.used` file, and touches it; whoever
removes one holds that alone, and the lock under which it would be built too.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fedenvoy.workspace.room import size_of
from fedenvoy.workspace.runs import remove_run

__all__ = ["in_use", "is_complete", "note_size", "note_use", "prune"]

logger = logging.getLogger(__name__)

_BESIDE = ("used", "pins", "new", "lists", "build", "log")


def is_complete(place: Path) -> bool:
    """Whether an environment is there, and the interpreter that it was made from too."""
    return (place / "bin" / "python").exists()


def note_use(place: Path) -> bool:
    """Note that an environment is used from now on; tell whether it is there."""
    if not is_complete(place):
        return False
    try:
        with in_use(place):
            return True
    except FileNotFoundError:
        return False  # it was removed while its lock was waited for


def note_size(place: Path, size: int) -> None:
    """Note how many bytes an environment takes."""
    with contextlib.suppress(OSError):
        descriptor = _open(_beside(place, "used"))
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(size).encode("ascii"), 0)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def in_use(place: Path) -> Iterator[None]:
    """Keep an environment from being removed, by whichever agent, for the length of a block.

    Raises:
        FileNotFoundError: It is not there.

    """
    descriptor = _locked(_beside(place, "used"), fcntl.LOCK_SH)
    try:
        if not is_complete(place):
            raise FileNotFoundError(f"the environment {place} was removed")
        os.utime(descriptor)
        yield
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def prune(root: Path, keep: float, max_bytes: int = 0, spare: str = "") -> tuple[str, ...]:
    """Remove what nobody used for `keep` seconds, and then what was used longest ago until the rest is small enough.

    Args:
        root: The cache.
        keep: Seconds; 0: nothing is removed for its age.
        max_bytes: Size of all environments together; 0: nothing is removed for its size.
        spare: The name of one that stays.

    Returns:
        The names of those that are gone.

    """
    names = sorted({name.partition(".")[0] for name in os.listdir(root)} - {spare})  # noqa: PTH208 - names, not paths
    gone = [name for name in names if keep and _is_old(root / name, keep) and _remove(root / name, keep)]
    if gone:
        logger.info("removed %d environments or locks that were not used for %.0f days", len(gone), keep / 86400)
    if max_bytes:
        gone += _shrink([root / name for name in {*names, spare} - {*gone, ""}], max_bytes, spare)
    return tuple(gone)


def _shrink(places: list[Path], max_bytes: int, spare: str) -> list[str]:
    sizes = {place: _size(place) for place in places if place.is_dir()}
    gone = []
    for place in sorted(sizes, key=lambda place: _newest(place) or 0.0):
        if sum(sizes.values()) <= max_bytes:
            break
        if place.name != spare and _remove(place, 0):
            logger.info("removed the environment %s of %d bytes, to make room for others", place.name, sizes.pop(place))
            gone.append(place.name)
    return gone


def _is_old(place: Path, keep: float) -> bool:
    """Whether there is something to remove, and no trace of its use is younger than `keep` seconds."""
    newest = _newest(place)
    return newest is not None and time.time() - newest > keep


def _newest(place: Path) -> float | None:
    """Give when something was used or made last; None where there is nothing."""
    times = []
    for path in (place, *(_beside(place, suffix) for suffix in _BESIDE)):
        with contextlib.suppress(OSError):
            times.append(path.lstat().st_mtime)
    return max(times, default=None)


def _size(place: Path) -> int:
    """Give the bytes of an environment, as they were noted, else as they are counted."""
    with contextlib.suppress(OSError, ValueError):
        return int(_beside(place, "used").read_bytes())
    size = size_of(place)
    note_size(place, size)
    return size


def _remove(place: Path, keep: float) -> bool:
    """Remove an environment unless somebody builds or uses it at this moment."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_alone(_beside(place, "lock")))
            held.enter_context(_alone(_beside(place, "used")))
        except OSError:
            return False
        if keep and not _is_old(place, keep):
            return False  # somebody built or used it since the first look
        gone = remove_run(place)
        for suffix in _BESIDE:
            remove_run(_beside(place, suffix))
        return gone


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a file's lock alone; raises BlockingIOError at once where another holds it."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.utime(descriptor, ns=(before, before))  # where it was made by this look, that is no use
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path, how: int) -> int:
    """Give a descriptor of a file that is locked, and still the one of that name."""
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, how)
            if _is_there(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_there(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _beside(place: Path, suffix: str) -> Path:
    return place.with_name(f"{place.name}.{suffix}")
