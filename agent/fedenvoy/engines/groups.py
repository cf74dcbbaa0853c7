"""Control groups for experiments, where the system has given this agent a part of the tree to divide (cgroup v2).

systemd does with `Delegate=` in a unit. The kernel then bounds the memory of all processes of a run together, at once
and exactly; where there is none, limits per process and the guard's looking do (see `engines/child/limits.py`).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["find", "group"]

logger = logging.getLogger(__name__)

_WANTED = ("memory", "pids")
_OWN = "agent"
"""The group that this process moves into: a group that is divided may hold no processes itself."""
_ROOT = Path("/")


def find(root: Path = _ROOT, *, privileged: bool | None = None) -> Path | None:
    """Give the group below which runs may have groups of their own, and make it ready; None where there is none.

    Args:
        root: Where /proc and /sys are.
        privileged: Whether this process may write anywhere, so that it takes the system's word to know what was given
            to it; None: whether it is root's.

    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        here = root / "sys/fs/cgroup" / own.strip("/")
        if here.name == _OWN and (here.parent / "cgroup.subtree_control").exists():
            here = here.parent
        if not set(_WANTED) <= set((here / "cgroup.controllers").read_text().split()):
            return None
    except (OSError, StopIteration):
        return None
    given = not (os.geteuid() == 0 if privileged is None else privileged) or _delegated(here)
    return here if given and os.access(here / "cgroup.subtree_control", os.W_OK) and _divide(here) else None


def _delegated(here: Path) -> bool:
    """Whether systemd says that a group was given away: what root can write is not root's to divide."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(here, name) == b"1":
                return True
    return False


def _divide(here: Path) -> bool:
    control = here / "cgroup.subtree_control"
    with contextlib.suppress(OSError):
        if set(_WANTED) <= set(control.read_text().split()):
            return True
        own = here / _OWN
        own.mkdir(exist_ok=True)
        (own / "cgroup.procs").write_text(str(os.getpid()))
        try:
            control.write_text(" ".join(f"+{name}" for name in _WANTED))
        except OSError:  # somebody else lives here, too
            (here / "cgroup.procs").write_text(str(os.getpid()))
            own.rmdir()
            raise
        return True
    return False


@contextmanager
def group(parent: Path | None, name: str, limits: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """Make a group for one run, for the length of a block.

    Args:
        parent: As `find` gave it; None: there are none.
        name: What it is called.
        limits: As in `ports.RunSpec`: bytes of `memory`, number of `processes`; without the first, none is made.

    Returns:
        The group's path; nothing where there is none.

    """
    if parent is None or not limits.get("memory"):
        yield ()
        return
    place = parent / f"run-{name}"
    try:
        place.mkdir()
        (place / "memory.max").write_text(str(limits["memory"]))
        (place / "memory.oom.group").write_text("1")
        if limits.get("processes"):
            (place / "pids.max").write_text(str(2 * limits["processes"]))  # the guard, which can say why, comes first
        with contextlib.suppress(OSError):  # a kernel without swap
            (place / "memory.swap.max").write_text("0")
    except OSError as error:
        logger.warning("no control group for this run, whose memory is bounded by other means: %s", error)
        with contextlib.suppress(OSError):
            place.rmdir()
        yield ()
        return
    try:
        yield (str(place),)
    finally:
        with contextlib.suppress(OSError):
            (place / "cgroup.kill").write_text("1")
        with contextlib.suppress(OSError):
            place.rmdir()
