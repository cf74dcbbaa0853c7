"""The download of an archive: chunks as they come, each checked, with bounds on its silence, slowness and length."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc

from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import FetchSettings
from fedenvoy.link.caller import Caller
from fedenvoy.link.dialect import BrokenChunkError, Openfl16
from fedenvoy.link.status import Rpc
from fedenvoy.link.watchdog import Watchdog

__all__ = ["Download"]


class Download:
    """One download; `cancel` ends it from any thread.

    Args:
        caller: The channel.
        dialect: The protocol.
        experiment: Name as the director knows it.
        settings: How long and how slow it may be.

    """

    def __init__(self, caller: Caller, dialect: Openfl16, experiment: str, settings: FetchSettings) -> None:
        self._caller = caller
        self._dialect = dialect
        self._experiment = experiment
        self._timeout = settings.timeout or None
        self._patience = settings.idle_timeout or threading.TIMEOUT_MAX
        self._min_rate = settings.min_rate
        self._lock = threading.Lock()
        self._call: Any = None
        self._cancelled = False

    def cancel(self) -> None:
        """End the download; harmless when it is over."""
        with self._lock:
            self._cancelled = True
            call = self._call
        if call is not None:
            call.cancel()

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Give the archive's bytes in order; a caller that stops early ends the download.

        Raises:
            CallError: It was cut (retryable), cancelled, or the director no longer has the experiment (withdrawn).

        """
        call = self._begin()
        received = 0
        try:
            with Watchdog(self._patience, call.cancel) as watchdog:
                while (message := self._next(call, watchdog, received)) is not None:
                    chunk = self._checked(message, received)
                    received += len(chunk)
                    watchdog.calm(self._worth(len(chunk)))
                    yield chunk
        finally:
            call.cancel()  # no effect on a download that is complete

    def _begin(self) -> Any:
        with self._lock:
            if self._cancelled:
                raise self._error(CallKind.CANCELLED, "CANCELLED", "was ended by this side")
            request = self._dialect.archive(self._experiment)
            self._call = self._caller.stream(self._dialect.DATA, request, self._timeout)
            return self._call

    def _worth(self, size: int) -> float:
        """Give the seconds that so many bytes may take."""
        if not size:
            return 0.0
        return size / self._min_rate if self._min_rate else self._patience

    def _next(self, call: Any, watchdog: Watchdog, received: int) -> Any:
        """Give the next message; None at the end."""
        try:
            with watchdog.waiting():
                return next(call, None)
        except (grpc.RpcError, ValueError) as error:
            raise self._failure(error, watchdog, received) from error

    def _checked(self, message: bytes, received: int) -> bytes | memoryview:
        try:
            return self._dialect.chunk(message)
        except BrokenChunkError as error:
            text = f"has a broken chunk after {received} bytes: {error}"
            raise self._error(CallKind.RETRYABLE, "DATA_LOSS", text) from error

    def _failure(self, error: Exception, watchdog: Watchdog, received: int) -> CallError:
        if self._cancelled:
            return self._error(CallKind.CANCELLED, "CANCELLED", "was ended by this side")
        if watchdog.bitten:
            little = f"less than {self._min_rate} bytes a second" if self._min_rate else "nothing"
            text = f"brought {little} for {self._patience:.3g} s, after {received} bytes"
            return self._error(CallKind.RETRYABLE, "DEADLINE_EXCEEDED", text)
        failure = self._caller.failure(Rpc.DATA, error, self._timeout)
        if not received or failure.kind is CallKind.CANCELLED:
            return failure
        # What has begun to arrive is there; whatever broke it was something else, and the next try will tell.
        kind = CallKind.RETRYABLE if failure.kind is CallKind.WITHDRAWN else failure.kind
        return self._error(kind, failure.code, f"was cut after {received} bytes: {failure.text}")

    def _error(self, kind: CallKind, code: str, text: str) -> CallError:
        return CallError(kind=kind, code=code, text=f"{Rpc.DATA.value} of {self._experiment!r} {text}")
