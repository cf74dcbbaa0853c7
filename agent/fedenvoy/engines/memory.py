"""How much memory there is to be had here, and amounts of it in words: a leaf that reads the kernel's files."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["available", "of", "size"]

_ROOT = Path("/")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_ROUND = ("bytes", "kB", "MB", "GB", "TB")


def available(root: Path = _ROOT) -> int:
    """Give the bytes that this process could have at most: the machine's, or what its control group allows; 0: unknown.

    Args:
        root: Where /proc and /sys are.

    """
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemTotal:")]
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "memory":
                found += _bounds(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
            elif not controllers:
                found += _bounds(root / "sys/fs/cgroup", path, "memory.max")
    return min(found, default=0)


def _bounds(top: Path, path: str, name: str) -> list[int]:
    """Read a group's bound and those of the groups above it, as far as they can be seen from here."""
    found = []
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    for end in range(len(parts) + 1):
        with contextlib.suppress(OSError, ValueError):  # a bound that is none is the word "max"
            found.append(int(top.joinpath(*parts[:end], name).read_text()))
    return found


def size(amount: int) -> str:
    """Write bytes for people: `4 GB` where that is exact, else in powers of 1024."""
    return _in_units(amount, _base(amount))


def of(part: int, whole: int) -> str:
    """Write `3.1 GB of 4 GB`, both in the same kind of unit."""
    base = _base(whole)
    return f"{_in_units(part, base)} of {_in_units(whole, base)}"


def _base(amount: int) -> int:
    return 1000 if amount and amount % 1000**2 == 0 else 1024


def _in_units(amount: int, base: int) -> str:
    power = 0
    while power < 4 and amount >= base ** (power + 1):
        power += 1
    number = f"{amount / base**power:.1f}".removesuffix(".0")
    return f"{number} {(_ROUND if base == 1000 else _UNITS)[power]}"
