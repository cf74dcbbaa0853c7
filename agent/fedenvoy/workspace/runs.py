"""The directory of one run, and its removal whatever an experiment left in it.

Everything that belongs to a run lies below one directory whose name is made of numbers: an experiment's own name never
becomes a path.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

from fedenvoy.processes import end_marked

__all__ = ["clean_leftovers", "make_run", "remove_run", "runs_directory"]

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_LOCKED = 0x10 | 0x20
"""The flags "immutable" and "append only", and the calls that read and set them."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_LONGEST_SPEC = 16 * 2**20


def runs_directory(state_dir: Path) -> Path:
    """Give the directory that holds all runs."""
    return state_dir / "runs"


def make_run(state_dir: Path, session: int | str, run: int) -> Path:
    """Make the directory of a run, empty and for this user alone; what an earlier try left under that name is removed.

    Args:
        state_dir: Absolute path of the state directory.
        session: This session's number or name; letters, digits, `.`, `_` and `-` only.
        run: The run's number in this session.

    """
    name = f"{session}-{run}"
    if name.startswith(".") or not all(sign.isalnum() or sign in "._-" for sign in name):
        raise ValueError(f"{name!r} is not fit for a directory's name")
    if not state_dir.is_absolute():
        raise ValueError(f"the state directory must be an absolute path, not {str(state_dir)!r}")
    path = runs_directory(state_dir) / name
    remove_run(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.mkdir(mode=0o700)
    return path


def remove_run(path: Path) -> bool:
    """Remove a run's directory, read-only files and all; tell whether it is gone.

    Links are removed, never followed. It needs no working directory (the experiment may have removed the agent's), and
    it never raises: what resists is left for `clean_leftovers` of the next start.
    """
    mode = _mode(path)
    if mode and stat.S_ISDIR(mode):
        _remove_tree(path)
    elif mode:
        with contextlib.suppress(OSError):
            path.unlink()
    return _mode(path) == 0


def _mode(path: Path) -> int | None:
    """Give the mode of what is there, links not followed; 0 where nothing is, None where that cannot be told."""
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0
    except OSError:
        return None


def clean_leftovers(state_dir: Path, keep: Callable[[Path], object] = lambda _path: None) -> tuple[str, ...]:
    """End the processes and remove the files of earlier sessions' runs; give the names of the runs that are gone.

    For the start and the end of a session, while no run is in hand.

    Args:
        state_dir: The node's directory.
        keep: Called with each run's directory before that is removed.

    """
    top = runs_directory(state_dir)
    try:
        names = sorted(os.listdir(top))  # noqa: PTH208 - names, not paths
    except OSError:
        return ()
    for name in names:
        token = _token(top / name)
        if token:
            end_marked(token)
        keep(top / name)
    return tuple(name for name in names if remove_run(top / name))


def _token(path: Path) -> str:
    """Give the mark that the processes of a run carry in their environment; empty where none was started."""
    spec = path / "spec.json"
    try:
        if spec.is_symlink() or spec.stat().st_size > _LONGEST_SPEC:
            return ""
        return str(json.loads(spec.read_bytes())["token"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def _remove_tree(top: Path) -> None:
    """Remove depth first, one open directory at a time: an experiment can nest deeper than paths and recursion go."""
    above: list[tuple[str, list[str], tuple[int, int]]] = []
    with contextlib.suppress(OSError):
        here = _enter(top)
        try:
            waiting = _clear(here)
            while waiting or above:
                if waiting:
                    name = waiting.pop()
                    with contextlib.suppress(OSError):
                        below = _enter(name, here)
                        above.append((name, waiting, _identity(here)))
                        os.close(here)
                        here, waiting = below, _clear(below)
                    continue
                name, waiting, expected = above.pop()
                parent = os.open("..", _DIRECTORY, dir_fd=here)
                os.close(here)
                here = parent
                if _identity(here) != expected:  # somebody moves directories about: what is left is left
                    return
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=here)
        finally:
            os.close(here)
        top.rmdir()


def _enter(name: Path | str, parent: int | None = None) -> int:
    """Open a directory, which may forbid that as yet, and let it be changed."""
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, 0o700)
    _unlock(descriptor)
    return descriptor


def _clear(directory: int) -> list[str]:
    """Remove what is no directory; give the names of those that are."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    found.append(entry.name)
                    continue
                try:
                    os.unlink(entry.name, dir_fd=directory)
                except PermissionError:
                    file = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
                    _unlock(file)
                    os.close(file)
                    os.unlink(entry.name, dir_fd=directory)
    return found


def _identity(directory: int) -> tuple[int, int]:
    found = os.fstat(directory)
    return found.st_dev, found.st_ino


def _unlock(descriptor: int) -> None:
    """Take away the flags that forbid changes, where this user may: root could set them, and can clear them."""
    with contextlib.suppress(OSError):
        flags = array.array("i", [0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        if flags[0] & _LOCKED:
            flags[0] &= ~_LOCKED
            fcntl.ioctl(descriptor, _SET_FLAGS, flags)
            os.fchmod(descriptor, 0o700)
