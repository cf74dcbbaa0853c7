"""Turns what SQLite and the system say about the journal's file into one sentence that helps."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fedenvoy.errors import DISK_FULL, StoreError

__all__ = ["is_damage", "is_full", "told"]

_NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file is no sound database; its subclasses say other things."""
    return type(error) is sqlite3.DatabaseError


def is_full(error: Exception) -> bool:
    """Whether an error says that the disk, or this user's share of it, is full."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    return isinstance(error, sqlite3.OperationalError) and "is full" in str(error)


@contextlib.contextmanager
def told(path: Path, what: str) -> Iterator[None]:
    """Raise as StoreError what the system or SQLite raises in the block.

    Args:
        path: The journal's file.
        what: What was tried: opened, read, written.

    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(_sentence(path, what, error)) from error


def _sentence(path: Path, what: str, error: Exception) -> str:
    if is_full(error):
        return (
            f"{path} cannot be {what}: its disk is full; make room there, or give another place with agent.state_dir "
            "or --state-dir"
        )
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    not_ours = isinstance(error, OSError) and error.errno in _NOT_OURS
    if not_ours or "readonly" in text or "unable to open" in text:
        return (
            f"{path} cannot be {what} ({text}): the user that runs the agent must be able to write there; or give "
            "another place with agent.state_dir or --state-dir"
        )
    return f"{path} cannot be {what}: {text}"
