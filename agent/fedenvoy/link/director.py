"""The director as the agent sees it: five methods over one channel, each of which answers or raises `CallError`."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue

from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import DirectorAddress, FetchSettings, LinkSettings, PollSettings, TlsFiles
from fedenvoy.events import DeviceReading, ShardDescription
from fedenvoy.link.caller import Caller
from fedenvoy.link.diagnosis import tls_trouble
from fedenvoy.link.dialect import Openfl16
from fedenvoy.link.download import Download
from fedenvoy.link.poll import LongPoll
from fedenvoy.link.proxy import proxy_in_use, proxy_text
from fedenvoy.link.status import closed_while_connecting
from fedenvoy.ports import Call, HealthReply

__all__ = ["DEFAULT_PERIOD", "MAX_PERIOD", "MIN_PERIOD", "DirectorLink"]

logger = logging.getLogger(__name__)

DEFAULT_PERIOD = 60.0
"""Seconds between health checks until the director has said otherwise; the reference's own."""
MIN_PERIOD = 1.0
"""Seconds; a shorter period is raised to this."""
MAX_PERIOD = 3600.0
"""Seconds; a longer period is cut to this, so that no director can silence a node."""

_DIAGNOSIS_TIMEOUT = 3.0


class DirectorLink:
    """One channel to the director; a `fedenvoy.ports.DirectorPort`. All methods are thread-safe.

    Nothing is opened or read before the first call. The certificate files are read then, so that renewed ones take
    effect with the next link.

    Args:
        shard_name: The name under which the director knows this node.
        director: Where it listens.
        tls: The certificates; None: plain text.
        settings: Deadlines, and whether proxies apply.
        poll: The long poll's deadline.
        fetch: The download's bounds.
        period: The last known health-check period in seconds, from an earlier link.

    """

    def __init__(
        self,
        *,
        shard_name: str,
        director: DirectorAddress,
        tls: TlsFiles | None,
        settings: LinkSettings,
        poll: PollSettings,
        fetch: FetchSettings,
        period: float = DEFAULT_PERIOD,
    ) -> None:
        self._director = director
        self._tls = tls
        self._settings = settings
        self._poll = poll
        self._fetch = fetch
        self._dialect = Openfl16(shard_name)
        self._caller = Caller(director, tls, settings)
        self._period = period
        self._clamped: float | None = None
        self._registered: int | None = None
        self._ahead: SimpleQueue[LongPoll] = SimpleQueue()

    @property
    def period(self) -> float:
        """Give the last known health-check period, seconds."""
        return self._period

    def register(self, shard: ShardDescription, devices: Sequence[int | str]) -> bool:
        """Tell the shard and its GPUs; give the director's answer.

        Raises:
            CallError: There was none; `rejected` where it is TLS, the credentials or the protocol.

        """
        request = self._dialect.registration(shard, devices)
        try:
            reply = self._caller.unary(self._dialect.REGISTER, request, self._settings.call_timeout)
        except CallError as error:
            # The director raises on an empty shape, and would each time: that is its way to say no.
            if error.code == "UNKNOWN" and not (shard.sample_shape and shard.target_shape):
                return False
            raise self._explained(error) from error
        self._registered = len(devices)
        return reply.accepted

    def poll_ahead(self) -> None:
        """Park the first poll at the director now, without waiting; the next `wait_experiment` goes on with it.

        The director raises at every user who lists the nodes or submits, from the moment it has accepted a node until
        that node has polled for the first time. A poll that cannot be issued is left to `wait_experiment`.
        """
        poll = LongPoll(self._caller, self._dialect, self._poll.timeout)
        with contextlib.suppress(CallError):
            poll.begin()
            self._ahead.put(poll)

    def wait_experiment(self, on_call: Callable[[Call], object]) -> str:
        """Wait until an experiment is offered, for as long as it takes; give its name.

        Args:
            on_call: Gets what another thread may cancel, once, before the wait begins.

        Raises:
            CallError: The poll failed, or was cancelled.

        """
        try:
            poll = self._ahead.get_nowait()
        except Empty:
            poll = LongPoll(self._caller, self._dialect, self._poll.timeout)
        on_call(poll)
        return poll.wait()

    def experiment_data(self, experiment: str, on_call: Callable[[Call], object]) -> Iterator[bytes | memoryview]:
        """Stream an archive's bytes in chunks; the call begins with the first one asked for.

        Args:
            experiment: Name as the director knows it.
            on_call: Gets what another thread may cancel, once, before the download begins.

        Raises:
            CallError: While iterating: it was cut, cancelled, or the director no longer has the experiment.

        """
        download = Download(self._caller, self._dialect, experiment, self._fetch)
        on_call(download)
        return download.chunks()

    def health_check(self, *, running: bool, readings: Sequence[DeviceReading]) -> HealthReply:
        """Tell that this node lives; the deadline is the call timeout or half a period, whichever is shorter.

        Args:
            running: Whether an experiment runs here.
            readings: One per registered GPU, in the same order.

        Raises:
            CallError: There was no answer; `reregister` where the director does not know this shard.

        """
        # A director trips over more devices than it knows of, and the check would be lost.
        request = self._dialect.health(running=running, readings=tuple(readings)[: self._registered])
        timeout = min(self._settings.call_timeout, self._period / 2)
        reply = self._caller.unary(self._dialect.HEALTH, request, timeout)
        self._period = self._bounded(self._dialect.period(reply))
        return HealthReply(period=self._period)

    def experiment_failed(self, experiment: str, code: int, text: str) -> None:
        """Tell that an experiment failed or was rejected here; a long text is cut to 16 KiB.

        Raises:
            CallError: It was not told; `withdrawn` where the director no longer has the experiment.

        """
        request = self._dialect.failure(experiment, code, text)
        self._caller.unary(self._dialect.REPORT, request, self._settings.call_timeout)

    def close(self) -> None:
        """End all calls and the channel; harmless when repeated."""
        self._caller.close()

    def _bounded(self, asked: float | None) -> float:
        """Bring the director's period within bounds, and say so once for each value that was not."""
        if asked is None or not math.isfinite(asked):
            return self._period
        period = min(max(asked, MIN_PERIOD), MAX_PERIOD)
        if asked not in {period, self._clamped}:
            self._clamped = asked
            logger.warning("the director asks for a health check every %g s; it gets one every %g s", asked, period)
        return period

    def _explained(self, error: CallError) -> CallError:
        """Say what is wrong with TLS where gRPC cannot tell it from an outage, and name a proxy that is on the way."""
        if error.code not in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}:
            return error
        if proxy_in_use(self._director, os.environ, enabled=self._settings.proxy):
            text = f"{error.text}; {proxy_text(self._director, os.environ)}"
            return CallError(kind=error.kind, code=error.code, text=text)
        if error.kind is not CallKind.REJECTED and not closed_while_connecting(error.text):
            return error
        timeout = min(_DIAGNOSIS_TIMEOUT, self._settings.call_timeout)
        trouble = tls_trouble(self._director, self._tls, timeout)
        if trouble is None:
            return error
        text = f"TLS with the director at {self._director} failed: {trouble}"
        return CallError(kind=CallKind.REJECTED, code=error.code, text=text)
