"""The directory of one run, and its removal whatever an experiment left in it.

Everything that belongs to a run lies below one directory whose name is made of numbers: an experiment's own name never
becomes a path.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from attrs import frozen

__all__ = ["RunDirectory", "clean_leftovers", "create_run", "remove_run", "runs_directory"]


@frozen
class RunDirectory:
    """Where the files of one run lie; only this user may read them."""

    path: Path
    """The directory itself, absolute."""

    @property
    def archive(self) -> Path:
        """The archive as received."""
        return self.path / "archive.zip"

    @property
    def workspace(self) -> Path:
        """The unpacked archive; the experiment's working directory."""
        return self.path / "workspace"

    @property
    def spec(self) -> Path:
        """What the child was told."""
        return self.path / "spec.json"

    @property
    def log(self) -> Path:
        """What the child printed."""
        return self.path / "child.log"

    @property
    def result(self) -> Path:
        """What the child ended with."""
        return self.path / "result.json"


def runs_directory(state_dir: Path) -> Path:
    """Give the directory that holds all runs."""
    return state_dir / "runs"


def create_run(state_dir: Path, session: int | str, run: int) -> RunDirectory:
    """Make the directory of a run, empty; what an earlier try left under that name is removed.

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
    directory = RunDirectory(runs_directory(state_dir) / name)
    remove_run(directory.path)
    directory.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.path.mkdir(mode=0o700)
    return directory


def remove_run(path: Path) -> bool:
    """Remove a run's directory, read-only files and all; tell whether it is gone.

    Links are removed, never followed. It needs no working directory (the experiment may have removed the agent's), and
    it never raises: what resists is left for `clean_leftovers` of the next start.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return True
    except OSError:
        return False
    if not stat.S_ISDIR(mode):
        with contextlib.suppress(OSError):
            path.unlink()
        return not os.path.lexists(path)
    _remove_tree(path)
    return not os.path.lexists(path)


def clean_leftovers(state_dir: Path) -> tuple[str, ...]:
    """Remove the runs of earlier sessions; give the names of those that are gone.

    For the start, while no run is in hand and the processes of earlier runs have been ended.
    """
    try:
        names = sorted(os.listdir(runs_directory(state_dir)))  # noqa: PTH208 - names, not paths
    except OSError:
        return ()
    return tuple(name for name in names if remove_run(runs_directory(state_dir) / name))


def _remove_tree(top: Path) -> None:
    """Remove depth first, with an own stack: an experiment can nest directories deeper than Python can recurse."""
    stack: list[tuple[Path, bool]] = [(top, False)]
    while stack:
        path, emptied = stack.pop()
        with contextlib.suppress(OSError):
            if emptied:
                path.rmdir()
                continue
            path.chmod(0o700)  # a directory that forbids writing keeps its entries; links never come here
            stack.append((path, True))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append((path / entry.name, False))
                    else:
                        os.unlink(entry.path)  # noqa: PTH108 - the entry's own path, without a new object
