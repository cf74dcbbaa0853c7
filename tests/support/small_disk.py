"""A real file system of a few megabytes, to be filled, and one that may only be read."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MEGABYTE = 2**20


@contextlib.contextmanager
def small_disk(place: Path, size: int = MEGABYTE) -> Iterator[Path]:
    """Mount a file system of so many bytes for the length of a block, as far as this user may.

    Where tests must not be passed over (as root, or with `CI` set) a mount that fails is a failure.
    """
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        problem = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError as error:
        problem = str(error)
    if problem:
        words = f"a small file system cannot be mounted here: {problem}"
        if os.geteuid() == 0 or os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    try:
        yield place
    finally:
        done = subprocess.run(["umount", str(place)], capture_output=True, text=True, check=False)
        if done.returncode:  # a test that failed may hold a file; nothing may stay in the temporary directory
            subprocess.run(["umount", "--lazy", str(place)], check=True)
            pytest.fail(f"something still uses the small file system: {done.stderr.strip()}")


def fill(directory: Path, leave: int = 0) -> Path:
    """Fill a disk but for `leave` bytes; give the file that does it."""
    ballast = directory / "ballast"
    with ballast.open("ab", 0) as file:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    if leave:
        os.truncate(ballast, max(0, ballast.stat().st_size - leave))
    return ballast


def free(directory: Path) -> int:
    """Bytes that are free."""
    told = os.statvfs(directory)
    return told.f_bavail * told.f_frsize


def read_only(place: Path) -> None:
    """Let nothing be written any more."""
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


@contextlib.contextmanager
def as_somebody_else() -> Iterator[None]:
    """Lose root's rights for the length of a block; without them nothing changes."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
