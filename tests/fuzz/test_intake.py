"""The intake in front of thousands of archives that nobody thought of: it takes all, or refuses in a sentence."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from support.intake import look

from fuzz.archives import archives, mutated


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fedenvoy-fuzz-") as directory:
        yield Path(directory)


@given(data=archives() | mutated())
@settings(suppress_health_check=list(HealthCheck))
def test_B38_whatever_an_archive_is_it_is_taken_whole_or_refused_in_a_sentence(place: Path, data: bytes) -> None:
    look(data, place)
