"""Who decides about an experiment: the callback table, and the question on the terminal (a real one: a pty)."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.errors import ConfigurationError
from fedenvoy.review import ReviewError, TerminalReview, decide

WAIT = 20.0


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text("aggregator: {rounds: 3}\n")
    return path


def numpy_like(name: str, truth: bool) -> object:
    """Give an answer of the class that numpy calls `bool_` (1.x) or `bool` (2.x)."""
    return type(name, (), {"__module__": "numpy", "__bool__": lambda _self: truth})()


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        (True, True),
        (False, False),
        (numpy_like("bool_", True), True),
        (numpy_like("bool", True), True),
        (numpy_like("bool_", False), False),
    ],
)
def test_B41_a_bool_decides(plan: Path, answer: object, decision: bool) -> None:
    assert decide(lambda _name, _path: answer, plan, WAIT, Cancel()) is decision


def test_B41_real_numpy_decides(plan: Path) -> None:
    numpy = pytest.importorskip("numpy")
    assert decide(lambda _name, _path: numpy.bool_(True), plan, WAIT, Cancel()) is True


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(1, "builtins.int"), ("yes", "builtins.str"), (None, "builtins.NoneType"), ([], "builtins.list")],
)
def test_B41_anything_else_is_an_error_that_names_the_type(plan: Path, answer: object, kind: str) -> None:
    with pytest.raises(ReviewError, match=f"returned {kind}, expected True or False"):
        decide(lambda _name, _path: answer, plan, WAIT, Cancel())


@pytest.mark.parametrize("error", [ValueError("no plan"), SystemExit("no plan"), KeyboardInterrupt("no plan")])
def test_B41_raising_is_not_rejecting(plan: Path, error: BaseException) -> None:
    def callback(_name: str, _path: str) -> bool:
        raise error

    with pytest.raises(ReviewError, match=f"the review callback raised {type(error).__name__}: no plan"):
        decide(callback, plan, WAIT, Cancel())


def test_B41_never_returning_is_rejected_after_the_timeout(plan: Path) -> None:
    release = threading.Event()

    def callback(_name: str, _path: str) -> bool:
        return release.wait(WAIT)

    try:
        assert decide(callback, plan, 0.05, Cancel()) is False
    finally:
        release.set()


def test_B41_a_cancelled_review_ends_at_once(plan: Path) -> None:
    release, asked, cancel = threading.Event(), threading.Event(), Cancel()

    def callback(_name: str, _path: str) -> bool:
        asked.set()
        return release.wait(WAIT)

    with ThreadPoolExecutor(1) as pool:
        try:
            decision = pool.submit(decide, callback, plan, WAIT, cancel)
            assert asked.wait(WAIT)
            cancel.cancel()
            with pytest.raises(Cancelled):
                decision.result(WAIT)
        finally:
            release.set()


def test_the_callback_gets_an_absolute_path_in_a_thread_of_its_own(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plan.parent)
    calls: list[Any] = []

    def callback(name: str, path: str) -> bool:
        calls.append((name, path, threading.current_thread().daemon, threading.current_thread()))
        return True

    assert decide(callback, Path(plan.name), WAIT, Cancel())
    name, path, daemon, thread = calls[0]
    assert (name, path, daemon) == ("plan", str(plan), True)
    assert thread is not threading.current_thread()


class Screen(io.StringIO):
    """What the terminal shows; can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def write(self, text: str) -> int:
        with self._changed:
            count = super().write(text)
            self._changed.notify_all()
        return count

    def wait_for(self, words: str, times: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.getvalue().count(words) >= times, WAIT), self.getvalue()


class Terminal:
    """A pseudo terminal with a reviewer at it."""

    def __init__(self) -> None:
        self.keyboard, inner = os.openpty()
        self._input = os.fdopen(inner, "r", encoding="utf-8")
        self.screen = Screen()
        self.review = TerminalReview(self._input, self.screen)
        self.pool = ThreadPoolExecutor(2)

    def type(self, text: bytes) -> None:
        os.write(self.keyboard, text)

    def decide(self, plan: Path, timeout: float = WAIT, cancel: Cancel | None = None) -> Callable[[], bool]:
        """Begin a review; give a function that waits for the decision."""
        future = self.pool.submit(decide, self.review, plan, timeout, cancel or Cancel())
        return lambda: future.result(WAIT)

    def close(self) -> None:
        self.pool.shutdown()
        self._input.close()
        if self.keyboard >= 0:
            os.close(self.keyboard)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("typed", "decision", "outcome"),
    [
        (b"y\n", True, "The plan is accepted."),
        (b"YES\n", True, "The plan is accepted."),
        (b"n\n", False, "The plan is rejected."),
        (b"\n", False, "The plan is rejected."),
        (b"yellow\n", False, "The plan is rejected."),
        (b"\x04", False, "The plan is rejected: nobody answered."),  # Ctrl-D: the end of the input
    ],
)
def test_the_question_on_the_terminal(
    terminal: Terminal, plan: Path, typed: bytes, decision: bool, outcome: str
) -> None:
    decided = terminal.decide(plan)
    terminal.screen.wait_for("[y/N] ")
    terminal.type(typed)
    assert decided() is decision
    shown = terminal.screen.getvalue()
    assert str(plan) in shown
    assert "aggregator: {rounds: 3}" in shown
    assert outcome in shown


def test_what_was_typed_before_the_question_is_no_answer(terminal: Terminal, plan: Path) -> None:
    terminal.type(b"y\n")
    decided = terminal.decide(plan)
    terminal.screen.wait_for("[y/N] ")
    terminal.type(b"n\n")
    assert decided() is False


def test_an_unanswered_question_does_not_take_the_next_answer(terminal: Terminal, plan: Path) -> None:
    assert terminal.decide(plan, timeout=0.05)() is False
    terminal.screen.wait_for("rejected: nobody answered")
    decided = terminal.decide(plan)
    terminal.screen.wait_for("[y/N] ", times=2)
    terminal.type(b"y\n")
    assert decided() is True


def test_a_cancelled_question_leaves_the_terminal(terminal: Terminal, plan: Path) -> None:
    cancel = Cancel()
    decided = terminal.decide(plan, cancel=cancel)
    terminal.screen.wait_for("[y/N] ")
    cancel.cancel()
    with pytest.raises(Cancelled):
        decided()
    terminal.screen.wait_for("rejected: nobody answered")


def test_a_terminal_that_went_away_rejects(terminal: Terminal, plan: Path) -> None:
    decided = terminal.decide(plan)
    terminal.screen.wait_for("[y/N] ")
    os.close(terminal.keyboard)
    terminal.keyboard = -1
    assert decided() is False


def test_a_plan_cannot_hide_a_part_of_itself(terminal: Terminal, plan: Path) -> None:
    plan.write_bytes(b"good: 1\r\n\x1b[2K\x1b[1Aevil: 1\x1b[8m\n\xe2\x80\xaeright\n\xff\tend\n")
    decided = terminal.decide(plan)
    terminal.screen.wait_for("[y/N] ")
    terminal.type(b"n\n")
    assert decided() is False
    shown = terminal.screen.getvalue()
    assert all(mark.isprintable() or mark == "\n" for mark in shown)
    for part in ("good: 1\n", r"\x1b[2K\x1b[1Aevil: 1\x1b[8m", r"\u202eright", r"\xff"):
        assert part in shown


def test_a_plan_that_is_gone_is_an_error_not_a_rejection(terminal: Terminal, tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match="raised FileNotFoundError"):
        terminal.decide(tmp_path / "gone.yaml")()


def test_the_review_may_be_called_as_the_reference_calls_it(terminal: Terminal, plan: Path) -> None:
    answer = terminal.pool.submit(terminal.review, "plan", str(plan))
    terminal.screen.wait_for("[y/N] ")
    terminal.type(b"y\n")
    assert answer.result(WAIT) is True


def test_B42_without_a_terminal_it_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open(encoding="utf-8") as nothing, pytest.raises(ConfigurationError) as caught:
        TerminalReview(nothing)
    assert "review needs a terminal or another review mode (agent.review.mode)" in str(caught.value)
    monkeypatch.setattr(sys, "stdin", None)  # as under pythonw, or with the descriptor closed
    with pytest.raises(ConfigurationError):
        TerminalReview()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(ConfigurationError):
        TerminalReview()
