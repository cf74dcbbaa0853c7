"""Seeded schedules of faults on the real process; whatever happened, in the end everything is told."""

from __future__ import annotations

import pytest

from chaos.campaign import Campaign, run_seeds
from chaos.schedule import FAULTS, draw

COMMIT_TIER = range(10)
NIGHTLY = range(1000, 2000)
JOBS = 5
"""At a time: most of a schedule is waiting."""


def judge(campaign: Campaign) -> None:
    assert not campaign.wrong, "\n".join(campaign.lines())
    assert len(campaign.outcomes) == campaign.wanted


@pytest.mark.timeout(300)
def test_ten_schedules_lose_nothing() -> None:
    judge(run_seeds(COMMIT_TIER, JOBS))


@pytest.mark.nightly
@pytest.mark.timeout(3 * 3600)
def test_a_thousand_schedules_lose_nothing() -> None:
    judge(run_seeds(NIGHTLY, JOBS))


def test_a_seed_is_one_schedule_and_all_kinds_of_faults_are_drawn() -> None:
    assert draw(7) == draw(7)
    kinds = {fault.kind for seed in range(200) for act in draw(seed).acts for fault in act.faults}
    assert kinds == set(FAULTS)
