"""Keeps the archives that people approved, the last of each name, so that the next can be compared with what they saw.

A kept archive is another name for the file of its run, and costs nothing but its bytes. It is hashed again before it is
shown to anybody.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from pathlib import Path

from fedenvoy.review.files import private_directory, read_json, write_json
from fedenvoy.review.shelf import key

__all__ = ["Kept", "digest_of"]

logger = logging.getLogger(__name__)

MOST = 100
_CHUNK = 2**20


class Kept:
    """The kept archives of one node. Not thread-safe.

    Args:
        directory: Where they lie.
        most_bytes: How many bytes may lie there; 0: nothing is kept.

    """

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self._directory = directory
        self._most_bytes = most_bytes

    def keep(self, experiment: str, archive: Path, digest: str) -> None:
        """Keep an archive in place of the last one of that name. That it cannot be kept costs nothing but the diff."""
        size = archive.stat().st_size
        if not self._most_bytes or size > self._most_bytes:
            return
        name = key(experiment)
        try:
            private_directory(self._directory)
            fresh = self._directory / f"{name}.new"
            fresh.unlink(missing_ok=True)
            fresh.hardlink_to(archive)
            fresh.replace(self._directory / f"{name}.zip")
            os.utime(self._directory / f"{name}.zip")
            write_json(self._directory / f"{name}.json", {"experiment": experiment, "digest": digest})
        except OSError as error:
            logger.warning("the approved archive of %r is not kept: %s", experiment[:100], error)
        self._prune()

    def last(self, experiment: str) -> tuple[Path, str] | None:
        """Give the last approved archive of a name, and its SHA-256; None where there is none, or it has changed."""
        path = self._directory / f"{key(experiment)}.zip"
        content = read_json(path.with_suffix(".json"))
        with contextlib.suppress(OSError, TypeError, KeyError):
            if digest_of(path) == content["digest"]:
                return path, str(content["digest"])
        return None

    def _prune(self) -> None:
        """Remove the oldest beyond the bounds."""
        total = 0
        archives = sorted(self._directory.glob("*.zip"), key=lambda path: path.stat().st_mtime, reverse=True)
        for number, path in enumerate(archives):
            total += path.stat().st_size
            if number >= MOST or total > self._most_bytes:
                path.unlink(missing_ok=True)
                path.with_suffix(".json").unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """Give a file's SHA-256, hexadecimal; raises OSError."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb", 0) as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
