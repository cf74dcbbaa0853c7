"""One channel to the director as the simulated agent uses it: the five methods, their deadlines, and the long poll."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import AgentSettings

from simulation.network import DATA, HEALTH, POLL, REGISTER, REPORT, Call, Network, failure

if TYPE_CHECKING:
    from simulation.schedule import Archive

__all__ = ["Answer", "Link", "Poll"]

_OWN_DEADLINE = 0.95
DAY = 24 * 3600.0

Answer = Callable[[object], None]


class Poll:
    """One wait for an offer, over any number of calls; the first is issued at once, even if nobody waits yet."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiter: Answer | None = None
        self._result: object = None
        self._call: Call | None = None
        self._over = False
        self._issue()

    def wait(self, answer: Answer) -> None:
        """Give the answer to `answer`: an experiment's name or a CallError."""
        self._waiter = answer
        if self._result is not None:
            result, self._result = self._result, None
            self._conclude(result)

    def cancel(self) -> None:
        """End the wait."""
        self._over = True
        if self._call is not None:
            self._call.cancel()

    def _issue(self) -> None:
        self._timeout, self._issued = self._link.draw_timeout(), self._link.now
        self._call = self._link.issue_poll(self._timeout, self._take)

    def _take(self, result: object) -> None:
        if self._waiter is None:
            self._result = result
        else:
            self._conclude(result)

    def _conclude(self, result: object) -> None:
        if self._over:
            return
        empty = isinstance(result, CallError) and result.code == "DEADLINE_EXCEEDED"
        if empty and self._link.now - self._issued >= _OWN_DEADLINE * self._timeout:
            self._issue()
        elif self._waiter is not None:
            self._waiter(result)


class Link:
    """One channel with the calls that go over it, each counted and with its deadline.

    Attributes:
        period: Seconds between health checks, as the director last said.

    """

    def __init__(self, network: Network, settings: AgentSettings, period: float, count: Callable[[str], None]) -> None:
        self._channel = network.channel()
        self._settings = settings
        self._count = count
        self._ahead: Poll | None = None
        self.period = period

    def _call(self, rpc: str, request: object, deadline: float, answer: Answer) -> Call:
        self._count(rpc)
        return self._channel.call(rpc, request, deadline, answer)

    def register(self, answer: Answer) -> None:
        """Tell the shard; the answer is a bool or a CallError."""
        self._call(REGISTER, None, self._settings.link.call_timeout, answer)

    def health(self, *, running: bool, answer: Answer) -> None:
        """Tell that this node lives; the answer is the period or a CallError."""

        def take(result: object) -> None:
            if isinstance(result, float):
                self.period = result
            answer(result)

        self._call(HEALTH, running, min(self._settings.link.call_timeout, self.period / 2), take)

    def poll_ahead(self) -> None:
        """Park the first poll now; the first that waits for an offer goes on with it."""
        self._ahead = Poll(self)

    def poll(self) -> Poll:
        """Give the poll that was parked ahead, or a new one."""
        ahead, self._ahead = self._ahead, None
        return ahead or Poll(self)

    def issue_poll(self, timeout: float, answer: Answer) -> Call:
        """Wait for an offer once; the answer is a name or a CallError."""
        return self._call(POLL, None, timeout, answer)

    def draw_timeout(self) -> float:
        """Draw the deadline of one poll."""
        return self._settings.poll.timeout * self._channel.network.kernel.between(0.8, 1.2)

    @property
    def now(self) -> float:
        """The time."""
        return self._channel.network.kernel.now

    def report(self, experiment: str, answer: Answer) -> None:
        """Tell that an experiment failed."""
        self._call(REPORT, experiment, self._settings.link.call_timeout, answer)

    def download(self, experiment: str, answer: Callable[[Archive | CallError], None]) -> Call:
        """Fetch an archive; a silence that lasts too long ends it."""
        idle = self._settings.fetch.idle_timeout
        kernel = self._channel.network.kernel
        begun = False

        def bite() -> None:
            if not call.over:
                call.channel.network.forget(call)
                call.end(failure(CallKind.RETRYABLE, "DEADLINE_EXCEEDED"))

        watchdog = kernel.after(idle, bite)

        def take(result: object) -> None:
            watchdog.cancel()
            if isinstance(result, CallError) and begun and result.kind is not CallKind.CANCELLED:
                result = CallError(kind=result.kind, code="CUT", text=result.text)
            answer(result)  # type: ignore[arg-type] # the director answers with an archive

        def progressed() -> None:
            nonlocal begun, watchdog
            begun = True
            watchdog.cancel()
            watchdog = kernel.after(idle, bite)

        call = self._call(DATA, experiment, DAY, take)
        call.progressed = progressed
        return call

    def close(self) -> None:
        """End all calls and the channel."""
        self._channel.close()
