"""Have a human, or the user's own function, decide about an experiment before anything of it runs.

`TerminalReview` asks at the command line; `decide` runs any callback, within a time limit, and wants a clear answer.
Nothing here knows the machine: who calls `decide` turns its answer into an event.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from fedenvoy.cancel import Cancel
from fedenvoy.errors import ConfigurationError, FedenvoyError
from fedenvoy.logs import escape

__all__ = ["Review", "ReviewError", "TerminalReview", "decide"]

Review = Callable[[str, str], Any]
"""Takes a file's name for people and its absolute path; True accepts it, and must be a bool, which `decide` checks."""

_NUMPY_BOOLS = {"bool", "bool_"}


class ReviewError(FedenvoyError):
    """A review gave no usable answer: it raised, or returned something that is neither true nor false."""


def decide(callback: Review, plan_path: Path, timeout: float, cancel: Cancel) -> bool:
    """Ask the callback about a plan, in a thread of its own, and wait for the answer.

    A `TerminalReview` ends its question when the answer is no longer wanted. Any other callback keeps its thread, a
    daemon, until it returns, and what it then says is lost.

    Args:
        callback: Called as `callback("plan", path)`.
        plan_path: The plan; the callback gets its absolute path.
        timeout: Seconds to wait.
        cancel: Ends the waiting.

    Returns:
        The decision; False when the time was over first.

    Raises:
        ReviewError: The callback raised, or returned no bool; the sentence names the exception or the type.
        Cancelled: The answer is not wanted any more.

    """
    answers: list[Any] = []
    failures: list[BaseException] = []
    done = threading.Event()
    unwanted = Cancel()

    def ask() -> None:
        path = str(plan_path.absolute())
        try:
            if isinstance(callback, TerminalReview):
                answers.append(callback.ask("plan", path, unwanted))
            else:
                answers.append(callback("plan", path))
        except BaseException as error:  # noqa: BLE001 - also SystemExit: the user's code must not end a thread unheard
            failures.append(error)
        done.set()

    forget = cancel.on_cancel(done.set)
    try:
        threading.Thread(target=ask, name="review", daemon=True).start()
        done.wait(min(timeout, threading.TIMEOUT_MAX))
    finally:
        forget()
        unwanted.cancel()
    cancel.raise_if_cancelled()
    if failures:
        error = failures[0]
        raise ReviewError(f"the review callback raised {type(error).__name__}: {error}") from error
    return _clear_answer(answers[0]) if answers else False


def _clear_answer(answer: object) -> bool:
    """Take a bool, Python's or numpy's, and nothing that merely counts as true."""
    kind = type(answer)
    if isinstance(answer, bool) or (kind.__module__ == "numpy" and kind.__name__ in _NUMPY_BOOLS):
        return bool(answer)
    raise ReviewError(f"the review callback returned {kind.__module__}.{kind.__qualname__}, expected True or False")


class TerminalReview:
    """Show a plan on the terminal and ask whether to accept it; anything but yes rejects it.

    Raises:
        ConfigurationError: There is no terminal to ask at.

    """

    def __init__(self, source: TextIO | None = None, sink: TextIO | None = None) -> None:
        source = sys.stdin if source is None else source
        if source is None or source.closed or not source.isatty():
            raise ConfigurationError(
                "review needs a terminal or another review mode (agent.review.mode), but the standard input is no "
                "terminal; run it in one, or set agent.review.mode: accept"
            )
        self._descriptor = source.fileno()
        self._sink = sink
        self._asking = threading.Lock()

    def __call__(self, file_name: str, file_path: str) -> bool:
        """Ask without a time limit; see `ask`."""
        return self.ask(file_name, file_path, Cancel())

    def ask(self, file_name: str, file_path: str, unwanted: Cancel) -> bool:
        """Show the file and ask. The end of the input, and `unwanted`, count as no.

        Raises:
            OSError: The file cannot be read.

        """
        content = Path(file_path).read_bytes().decode("utf-8", "backslashreplace")
        with self._asking:
            self._forget_typed()
            self._tell(
                f"\n----- The director offers an experiment. Its {file_name} ({file_path}) is: -----\n"
                f"{_visible(content).rstrip()}\n----- end of the {file_name} -----\n"
                f"Accept this {file_name} and let the experiment run here? [y/N] "
            )
            answer = self._read_line(unwanted)
            accepted = answer is not None and answer.strip().casefold() in {"y", "yes"}
            outcome = "rejected: nobody answered" if answer is None else "accepted" if accepted else "rejected"
            self._tell(f"The {file_name} is {outcome}.\n")
        return accepted

    def _tell(self, text: str) -> None:
        sink = self._sink or sys.stdout
        encoding = sink.encoding or "utf-8"
        sink.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sink.flush()

    def _forget_typed(self) -> None:
        """Drop what was typed before the question: it cannot be the answer."""
        with contextlib.suppress(termios.error):  # the terminal is gone; reading will tell
            termios.tcflush(self._descriptor, termios.TCIFLUSH)

    def _read_line(self, unwanted: Cancel) -> str | None:
        """Wait for a line; None at the end of input or when the answer is unwanted."""
        wakened, wake = socket.socketpair()
        forget = unwanted.on_cancel(lambda: _ring(wake))
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._descriptor, selectors.EVENT_READ)
                selector.register(wakened, selectors.EVENT_READ)
                if any(key.fileobj is wakened for key, _ in selector.select()):
                    return None
                typed = os.read(self._descriptor, 4096)
            return typed.decode("utf-8", "replace") if typed else None
        except OSError:  # the terminal is gone
            return None
        finally:
            forget()
            wakened.close()
            wake.close()


def _ring(wake: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the question is over
        wake.send(b"x")


def _visible(text: str) -> str:
    """Show control and direction characters as escapes: a plan must not be able to hide a part of itself."""
    return "\n".join(escape(line.rstrip("\r").expandtabs()) for line in text.split("\n"))
