"""What a sandbox director was asked, in order, and a way to wait for it without sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["RecordedCall", "Recorder"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call, as it came in.

    Attributes:
        number: Position among all calls, from 1.
        method: Its short name, for example "WaitExperiment".
        request: The message, of `fedenvoy.wire.openfl16_pb2`.
        at: When it came, seconds of the monotonic clock.
        peer: Where it came from, as gRPC says it.
        identity: The common name of the caller's certificate; empty on a plain link.

    """

    number: int
    method: str
    request: Any
    at: float
    peer: str
    identity: str = ""


class Recorder:
    """Keeps the calls, and wakes those who wait for something to happen; thread-safe.

    Args:
        observe: Gets each call after it was kept, in the thread that brought it.

    Attributes:
        changed: Notified whenever anything happens at the director.

    """

    def __init__(self, observe: Callable[[RecordedCall], object] | None = None) -> None:
        self._observe = observe
        self.changed = threading.Condition()
        self._calls: list[RecordedCall] = []

    def calls(self, method: str | None = None) -> tuple[RecordedCall, ...]:
        """Give the calls so far, in order; with a name, those of one method."""
        with self.changed:
            return tuple(call for call in self._calls if method in {None, call.method})

    def add(self, method: str, request: Any, peer: str, identity: str) -> None:
        """Keep a call."""
        with self.changed:
            number = len(self._calls) + 1
            call = RecordedCall(number, method, request, time.monotonic(), peer, identity)
            self._calls.append(call)
            self.changed.notify_all()
        if self._observe is not None:
            self._observe(call)

    def wait_for(self, predicate: Callable[[tuple[RecordedCall, ...]], T], timeout: float = 10.0) -> T:
        """Wait until a question about the calls has a true answer, and give that answer.

        Args:
            predicate: Gets all calls so far; is asked again whenever anything happens.
            timeout: Seconds.

        Raises:
            TimeoutError: It had none in time; the error names the calls there were.

        """
        with self.changed:
            answer = self.changed.wait_for(lambda: predicate(tuple(self._calls)), timeout)
            if not answer:
                seen = ", ".join(call.method for call in self._calls) or "none"
                raise TimeoutError(f"not seen within {timeout:g} s; the calls so far: {seen}")
            return answer
