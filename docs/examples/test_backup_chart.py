"""Tests of a chart of one's own, and of what follows it."""

# ruff: noqa: D101, D102, D103 - what a test says is its name
from __future__ import annotations

from backup_chart import BACKUP, Disk, Happening, Phase, Question
from fedenvoy.testing import ChartWalk, RowCase, Step, Trace, every_row, traces
from hypothesis import given, settings
from hypothesis.stateful import invariant


@every_row(BACKUP)
def test_each_row_leaves_the_disk_mounted_only_while_it_is_used(case: RowCase) -> None:
    disk = Disk()
    for step in case.steps:
        for deed in step.row.effects if step.row else ():
            disk.do(deed)
    assert disk.mounted is (case.step.goal in {Phase.COPYING, Phase.CHECKING})


class DiskWalk(ChartWalk):
    chart = BACKUP

    def on_start(self) -> None:
        self.disk = Disk()

    def on_step(self, step: Step) -> None:
        for deed in step.row.effects if step.row else ():
            self.disk.do(deed)

    @invariant()
    def mounted_while_used(self) -> None:
        assert self.disk.mounted is (self.state in {Phase.COPYING, Phase.CHECKING})


TestDiskWalk = DiskWalk.TestCase
TestDiskWalk.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)


def second_implementation(trace: Trace) -> Phase:
    """The same backup, written by somebody else."""
    phase = Phase.WAITING
    for step in trace:
        if step.stale or phase is Phase.RETIRED:
            continue
        if step.event is Happening.RETIRE:
            phase = Phase.RETIRED
        elif phase is Phase.WAITING:
            phase = Phase.COPYING if step.event is Happening.NIGHT else phase
        elif step.event is Happening.DONE:
            phase = Phase.CHECKING if phase is Phase.COPYING else Phase.WAITING
        elif step.event is Happening.BROKE and phase is Phase.COPYING:
            phase = Phase.COPYING if step.valuation[Question.TRIES_LEFT] else Phase.WAITING
        elif step.event is Happening.BROKE:
            phase = Phase.WAITING
    return phase


@given(traces(BACKUP, illegal=True))
def test_another_implementation_ends_in_the_same_phase(trace: Trace) -> None:
    assert second_implementation(trace) is trace.states[-1]
