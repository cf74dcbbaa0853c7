"""The switch that job threads stop by."""

from __future__ import annotations

import threading

import pytest
from fedenvoy.cancel import Cancel, Cancelled


def test_callbacks_run_once_each_although_one_raises() -> None:
    cancel, ran = Cancel(), []

    def broken() -> None:
        ran.append("broken")
        raise RuntimeError("broken")

    cancel.on_cancel(broken)
    cancel.on_cancel(lambda: ran.append("whole"))
    with pytest.raises(RuntimeError, match="broken"):
        cancel.cancel()
    cancel.cancel()
    assert ran == ["broken", "whole"]


def test_a_removed_callback_does_not_run_and_a_late_one_runs_at_once() -> None:
    cancel, ran = Cancel(), []
    remove = cancel.on_cancel(lambda: ran.append("removed"))
    remove()
    remove()
    cancel.cancel()
    assert ran == []
    cancel.on_cancel(lambda: ran.append("late"))()
    assert ran == ["late"]


def test_waiting_ends_at_cancel_and_says_so() -> None:
    cancel = Cancel()
    cancel.raise_if_cancelled()
    assert not cancel.wait(0)
    helper = threading.Thread(target=cancel.cancel)
    helper.start()
    assert cancel.wait(30)
    helper.join()
    assert cancel.cancelled
    with pytest.raises(Cancelled):
        cancel.raise_if_cancelled()
