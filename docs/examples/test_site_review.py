"""Property tests of the review callback: alone, and within the life of an agent."""

# ruff: noqa: D102, D103 - what a test says is its name
from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from fedenvoy.cancel import Cancel
from fedenvoy.review import decide
from fedenvoy.testing import ChartWalk, Step, plans
from fedenvoy_statecharts import Event, Row, State
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant
from site_review import APPROVED_MODULES, SiteReview

GOOD: dict[str, Any] = {
    "engine": "callable",
    "callable": {"entry": "hospital_tasks.segment:train", "params": {"rounds": 10}},
}


def ask(content: bytes) -> bool:
    """Ask as the agent does: in a thread, with a time limit, and only a bool is an answer."""
    with TemporaryDirectory() as directory:
        plan = Path(directory) / "plan.yaml"
        plan.write_bytes(content)
        return decide(SiteReview(Path(directory) / "reviewed.txt"), plan, 5.0, Cancel())


def test_a_good_plan_is_approved() -> None:
    assert ask(yaml.safe_dump(GOOD).encode())


@settings(deadline=None)
@given(plans() | plans(like=GOOD))
def test_only_plans_that_call_our_own_code_are_approved(plan: dict[str, Any]) -> None:
    if ask(yaml.safe_dump(plan).encode()):
        assert plan["callable"]["entry"].startswith(APPROVED_MODULES)


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
@example(b"when: 2024-13-01")
@example(b"{" * 500)
def test_any_file_gets_an_answer(content: bytes) -> None:
    assert not ask(content)


MOST = 2


class ReviewWalk(ChartWalk):
    """The callback decides, the lifecycle goes on from there, and sessions end and begin."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.home = Path(self.directory.name)
        self.trained: set[str] = set()
        self.offers = 0

    def teardown(self) -> None:
        self.directory.cleanup()

    def on_start(self) -> None:
        self.callback = SiteReview(self.home / "reviewed.txt", most=MOST)

    def on_step(self, step: Step) -> None:
        if (step.state, self.state) == (State.IDLE, State.REVIEWING_PLAN):
            self.offers += 1
            self.plan = yaml.safe_dump({**GOOD, "title": f"plan {self.offers // 2 % 4}"})
            (self.home / "plan.yaml").write_text(self.plan)
            self.approves = self.callback("plan", str(self.home / "plan.yaml"))
            assert self.approves or self.plan not in self.trained, "it was approved before"
        if self.state is State.TRAINING:
            self.trained.add(self.plan)

    def may_take(self, row: Row) -> bool:
        """What happens is up to chance, but for the review, which is up to the callback."""
        if row.event is Event.PLAN_APPROVED:
            return self.approves
        return row.event is not Event.PLAN_REJECTED or not self.approves

    @invariant()
    def only_so_many_plans_are_trained(self) -> None:
        assert len(self.trained) <= MOST


TestReviewWalk = ReviewWalk.TestCase
TestReviewWalk.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
