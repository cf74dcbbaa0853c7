"""The long poll: parked at the director until there is work, and issued again, silently, when its own deadline is up.

A director hands the next assignment to the oldest parked call of a name, even when that call's peer is long gone;
only a poll that is issued anew finds out. Hence a deadline of minutes on a wait that may last for days.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, NamedTuple

import grpc

from fedenvoy.calls import CallError, CallKind
from fedenvoy.link.caller import Caller
from fedenvoy.link.dialect import Openfl16
from fedenvoy.link.status import Rpc

__all__ = ["LONGEST_NAME", "LongPoll"]

LONGEST_NAME = 4096
"""Characters; a name stands in every record of its run."""

_SPREAD = 0.2
# A "too late" that comes sooner than this part of the deadline is not ours: some server or proxy on the way said it.
_OWN_DEADLINE = 0.95


class _Issued(NamedTuple):
    """One call: what will hold its answer, its deadline in seconds, and when it was issued."""

    future: Any
    timeout: float
    at: float


class LongPoll:
    """One wait for an offer, over any number of calls; `cancel` ends it from any thread.

    Args:
        caller: The channel.
        dialect: The protocol.
        timeout: Deadline of one call, seconds; varied by 20 %, so that a fleet does not come back together.

    """

    def __init__(self, caller: Caller, dialect: Openfl16, timeout: float) -> None:
        self._caller = caller
        self._dialect = dialect
        self._timeout = timeout
        self._rng = random.Random()  # noqa: S311 - spreads load, guards nothing
        self._lock = threading.Lock()
        self._future: Any = None
        self._begun: _Issued | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """End the wait; harmless when it is over."""
        with self._lock:
            self._cancelled = True
            future = self._future
        if future is not None:
            future.cancel()

    def begin(self) -> None:
        """Issue the first call now, without waiting; `wait` goes on with it.

        Raises:
            CallError: It could not be issued.

        """
        self._begun = self._issue()

    def wait(self) -> str:
        """Give the name of the experiment that is offered.

        Raises:
            CallError: The poll failed, was cancelled, or the offer has no name.

        """
        while True:
            issued, self._begun = self._begun or self._issue(), None
            try:
                name = self._answer(issued.future, issued.timeout)
            except CallError as error:
                if error.kind is not CallKind.EMPTY:
                    raise
                if time.monotonic() - issued.at < _OWN_DEADLINE * issued.timeout:
                    raise CallError(kind=CallKind.RETRYABLE, code=error.code, text=error.text) from error
                continue
            if not name:
                raise CallError(kind=CallKind.RETRYABLE, text="the director offered an experiment without a name")
            if len(name) > LONGEST_NAME:
                text = f"the director offered an experiment whose name has {len(name)} characters: {name[:40]!r}..."
                raise CallError(kind=CallKind.RETRYABLE, text=text)
            return name

    def _issue(self) -> _Issued:
        timeout = self._timeout * self._rng.uniform(1 - _SPREAD, 1 + _SPREAD)
        with self._lock:
            if self._cancelled:
                raise _cancelled()
            at = time.monotonic()
            self._future = self._caller.future(self._dialect.POLL, self._dialect.wait(), timeout)
            return _Issued(self._future, timeout, at)

    def _answer(self, future: Any, timeout: float) -> str:
        # gRPC's own wait wakes up ten times a second; this one sleeps until there is something.
        done = threading.Event()
        future.add_done_callback(lambda _future: done.set())
        done.wait()
        try:
            name: str = self._caller.reply(self._dialect.POLL, future.result()).experiment_name
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            if self._cancelled:
                raise _cancelled() from error
            raise self._caller.failure(Rpc.POLL, error, timeout) from error
        return name


def _cancelled() -> CallError:
    return CallError(kind=CallKind.CANCELLED, code="CANCELLED", text=f"{Rpc.POLL.value} was ended by this side")
