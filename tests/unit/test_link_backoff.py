"""Delays: bounded, jittered also at the cap, never a hot loop."""

from __future__ import annotations

import random

import pytest
from fedenvoy.backoff import decline_delay, director_delay, retry_delay
from hypothesis import given
from hypothesis import strategies as st

RANDOMS = st.integers(min_value=0, max_value=2**32).map(random.Random)


@given(outage=st.floats(min_value=0, max_value=1e9), rng=RANDOMS)
def test_director_delay_stays_inside_its_window(outage: float, rng: random.Random) -> None:
    window = min(15.0, max(0.5, outage / 10))
    assert 0.2 * window <= director_delay(outage, rng) <= window


@pytest.mark.parametrize(("outage", "within"), [(0.0, 0.5), (5.0, 0.5), (20.0, 2.0), (600.0, 15.0), (1e6, 15.0)])
def test_director_is_dialled_again_soon_after_any_outage(outage: float, within: float) -> None:
    rng = random.Random(1)
    assert max(director_delay(outage, rng) for _ in range(200)) <= within


@given(attempt=st.integers(min_value=1, max_value=10**9), rng=RANDOMS)
def test_retry_delay_is_positive_and_capped(attempt: int, rng: random.Random) -> None:
    window = min(60.0, 2.0 ** (min(attempt, 64) - 1))
    assert 0.05 * window <= retry_delay(attempt, rng) <= window


def test_retry_delay_takes_its_first_and_last_window_from_the_caller() -> None:
    rng = random.Random(1)
    assert max(retry_delay(1, rng, first=0.01, cap=0.05) for _ in range(200)) <= 0.01
    assert 0.03 < max(retry_delay(9, rng, first=0.01, cap=0.05) for _ in range(200)) <= 0.05


@given(attempt=st.integers(min_value=1, max_value=10**9), rng=RANDOMS)
def test_B07_decline_delay_never_makes_a_hot_loop(attempt: int, rng: random.Random) -> None:
    assert 1.0 <= decline_delay(attempt, rng) <= 60.0


def test_B07_decline_delay_grows() -> None:
    rng = random.Random(1)
    means = [sum(decline_delay(attempt, rng) for _ in range(300)) / 300 for attempt in (1, 3, 6)]
    assert means[0] < 2 < means[1] < 10 < means[2]


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: director_delay(10_000.0, rng),
        lambda rng: retry_delay(50, rng),
        lambda rng: decline_delay(50, rng),
    ],
    ids=["director", "retry", "decline"],
)
def test_B25_a_fleet_at_the_cap_does_not_move_in_step(draw: object) -> None:
    assert callable(draw)
    delays = sorted(draw(random.Random(seed)) for seed in range(50))
    # 50 nodes over the window: no tenth of it holds more than a third of them, and no two draws are the same.
    assert len(set(delays)) == 50
    tenth = delays[-1] / 10
    fullest = max(sum(1 for d in delays if k * tenth <= d < (k + 1) * tenth) for k in range(10))
    assert fullest <= 17


def test_the_same_chance_gives_the_same_delay() -> None:
    assert retry_delay(7, random.Random(3)) == retry_delay(7, random.Random(3))
