"""What is remembered of names is bounded: a director may think of as many as it likes."""

from __future__ import annotations

from fedenvoy.core.state import MOST_NAMES, Data, Link


def test_of_too_many_names_the_one_that_rested_longest_ago_is_forgotten_but_no_settled_one() -> None:
    data = Data(Link(0.0))
    data.memory_of("settled").digests.add("a" * 64)
    for number in range(MOST_NAMES + 100):
        data.memory_of(f"exp-{number}").rest(float(number), "the director no longer had it")
    assert len(data.memory) == MOST_NAMES
    assert "settled" in data.memory
    assert "exp-100" not in data.memory
    assert f"exp-{MOST_NAMES + 99}" in data.memory


def test_of_too_many_settled_names_the_oldest_is_forgotten() -> None:
    data = Data(Link(0.0))
    for number in range(MOST_NAMES + 1):
        memory = data.memory_of(f"exp-{number}")
        memory.rest(float(number), "failed here")
        memory.digests.add("a" * 64)
    assert len(data.memory) == MOST_NAMES
    assert "exp-0" not in data.memory


def test_of_too_many_names_with_cut_downloads_the_oldest_is_forgotten() -> None:
    data = Data(Link(0.0))
    for number in range(MOST_NAMES + 1):
        data.count_cuts(f"exp-{number}", 1)
    data.count_cuts("exp-1", 2)
    data.count_cuts("another", 1)
    assert len(data.cuts) == MOST_NAMES
    assert data.cuts["exp-1"] == 2
    assert not {"exp-0", "exp-2"} & set(data.cuts)
