"""What can go wrong with an installation, told apart by what uv printed: whose fault it is, and what is tried again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from fedenvoy.cancel import Cancelled
from fedenvoy.errors import FedenvoyError

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel

__all__ = ["RequirementsError", "failure", "retried", "tail_of"]

TAIL_LINES = 40
TAIL_BYTES = 32 * 2**10

_KINDS = (
    ("disk", re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)),
    (
        "environment",
        re.compile(r"permission denied|read-only file system|input/output error|cannot allocate memory", re.IGNORECASE),
    ),
    ("resolution", re.compile(r"no solution found|unsatisfiable", re.IGNORECASE)),
    (
        "network",
        re.compile(
            r"error sending request|tcp connect error|dns error|timed? ?out|connection (?:reset|refused|closed)"
            r"|network is unreachable|are you offline|request failed after|error decoding response body"
            r"|unexpected (?:eof|end of file)|status server error|\b(?:429|50[0-9]) ",
            re.IGNORECASE,
        ),
    ),
)
_WORDS = {
    "disk": "the disk is full: the requirements could not be installed",
    "environment": "the requirements could not be installed on this machine",
    "resolution": "the requirements cannot be met together",
    "network": "the package index could not be reached",
    "other": "the requirements could not be installed",
}
# "error:" or a cross begins the reason; older releases draw its branches with box characters.
_REASON = re.compile(r"(?:^|\n)\s*(?:error:|\N{MULTIPLICATION SIGN})\s*(.+)", re.DOTALL)
_DRAWING = re.compile("[\u2500-\u257f\u25b6\N{MULTIPLICATION SIGN}]|hint:|cause:")


class RequirementsError(FedenvoyError):
    """An experiment's environment could not be built.

    Attributes:
        kind: `resolution` (the requirements contradict each other or exist nowhere), `refused` (they ask for what an
            experiment may not have) or `other` (a package cannot be built, most often): the experiment's own; and
            `network`, `timeout`, `disk` or `environment`: this node's.
        tail: The installer's last lines; empty where it was not run.

    """

    def __init__(self, message: str, kind: str = "environment", tail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.tail = tail


def retried(
    attempt: Callable[[], None],
    *,
    tries: int,
    pause: float,
    cancel: Cancel,
    before: Callable[[RetryCallState], None],
) -> None:
    """Call `attempt` until it does not fail for the network's fault, at most `tries` times.

    Args:
        attempt: What to do.
        tries: At most this many times.
        pause: Seconds that the first pause is at most; later ones double, to 30 s.
        cancel: Ends the pause; `Cancelled` is raised.
        before: Told before each pause.

    """

    def sleep(seconds: float) -> None:
        if cancel.wait(seconds):
            raise Cancelled

    Retrying(
        stop=stop_after_attempt(tries),
        wait=wait_random_exponential(multiplier=pause, max=max(pause, 30)),
        retry=retry_if_exception(lambda error: isinstance(error, RequirementsError) and error.kind == "network"),
        sleep=sleep,
        before_sleep=before,
        reraise=True,
    )(attempt)


def failure(tail: str) -> RequirementsError:
    """Give the error for a command of uv's that printed this last."""
    kind = next((kind for kind, pattern in _KINDS if pattern.search(tail)), "other")
    match = _REASON.search(tail)
    reason = " ".join(_DRAWING.sub(" ", match.group(1) if match else tail).split())
    return RequirementsError(f"{_WORDS[kind]}: {reason[:500] or 'uv gave no reason'}", kind, tail)


def tail_of(path: Path) -> str:
    """Give the last lines of a log; none where it is not there."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES))
        text = log.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-TAIL_LINES:])
