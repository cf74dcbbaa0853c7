"""The intake in front of thousands of archives that nobody thought of: it takes all, or refuses in a sentence."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from support.intake import look

from fuzz.archives import archives, mutated, seeds


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fedenvoy-fuzz-") as directory:
        yield Path(directory)


@given(data=archives() | mutated())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_B38_whatever_an_archive_is_it_is_taken_whole_or_refused_in_a_sentence(place: Path, data: bytes) -> None:
    look(data, place)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@given(data=archives() | mutated())
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
def test_B38_and_so_it_is_with_ten_thousand_archives(place: Path, data: bytes) -> None:
    look(data, place)


def test_the_seeds_of_the_fuzzer_are_taken_or_refused_for_their_plan(place: Path) -> None:
    sentences = [look(data, place) for data in seeds()]
    assert sum(sentence is None for sentence in sentences) > 10
    assert all(sentence is None or "plan/plan.yaml" in sentence for sentence in sentences)
