"""What a coverage-guided fuzzer runs: one function for bytes as they are, one for archives built of them.

Raw bytes find what the readers of single records overlook; but no change of raw bytes gives a right checksum, so the
other builds whole archives, and the fuzzer chooses what they are made of.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.intake import look

__all__ = ["TARGETS"]


def raw() -> Callable[[bytes], object]:
    """Give a function that takes bytes for an archive."""
    place = _place()
    return lambda data: look(data, place)


def built() -> Callable[[bytes], object]:
    """Give a function that takes bytes for the choices of which an archive is made."""
    from hypothesis import HealthCheck, given, settings

    from fuzz.archives import archives, mutated  # not what is fuzzed, hence not to be looked into

    place = _place()

    @given(data=archives() | mutated())
    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    def take(data: bytes) -> None:
        look(data, place)

    handle: Any = take
    one: Callable[[bytes], object] = handle.hypothesis.fuzz_one_input
    return one


def _place() -> Path:
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="fedenvoy-fuzz-", dir=memory if memory.is_dir() else None))


TARGETS: dict[str, Callable[[], Callable[[bytes], object]]] = {"raw": raw, "built": built}
"""By name; each is made anew in the process that runs it."""
