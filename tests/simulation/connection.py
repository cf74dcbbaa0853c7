"""The director's side of the simulated agent: dial, health check, poll and delivery as `app.connection` does them."""

from __future__ import annotations

from collections.abc import Callable

from fedenvoy.backoff import retry_delay
from fedenvoy.calls import CallError, CallKind
from fedenvoy.commands import CheckHealth, Deliver, Dial, Poll, WatchOffers
from fedenvoy.config import AgentSettings
from fedenvoy.events import Message, Offer, Problem
from fedenvoy.monitor.detector import DEFAULT_PERIOD
from fedenvoy_statecharts import Event

from simulation.jobs import Job, Tell
from simulation.kernel import Kernel
from simulation.link import Answer, Link
from simulation.monitor import Monitor
from simulation.network import Network, failure

__all__ = ["Connection"]

_DIAL_ANSWERS = {CallKind.REJECTED: Event.LINK_REJECTED, CallKind.REREGISTER: Event.SHARD_FORGOTTEN}


class Connection:
    """Holds the present link and the work that needs it."""

    def __init__(
        self,
        *,
        kernel: Kernel,
        network: Network,
        settings: AgentSettings,
        tell: Tell,
        monitor: Monitor,
        count: Callable[[str], None],
        mute: bool,
    ) -> None:
        self._kernel = kernel
        self._mute = mute
        self._network = network
        self._settings = settings
        self._tell = tell
        self._monitor = monitor
        self._count = count
        self._period = DEFAULT_PERIOD
        self._dialling: Job | None = None
        self._checked: Link | None = None
        self.link: Link | None = None

    def drop(self) -> None:
        """End the present link with everything that runs on it, a dial under way included."""
        self._monitor.end()
        if self.link is not None:
            self._period = self.link.period
        self.link = None
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None

    def dial(self, command: Dial) -> None:
        """Open a channel and register."""
        job = self._dialling = Job("dial")
        self._kernel.after(self._network.latency(), lambda: self._open(command, job))

    def _open(self, command: Dial, job: Job) -> None:
        if job.cancelled:
            return
        link = Link(self._network, self._settings, self._period, self._count)
        job.on_cancel(link.close)

        def registered(result: object) -> None:
            if isinstance(result, CallError):
                self._dial_failed(command, job, result)
            elif not job.cancelled:
                # A thread may be held up between looking at its job and doing this.
                self._kernel.after(0.001, lambda: self._conclude(command, link, accepted=bool(result)))

        def probed(result: object) -> None:
            if isinstance(result, CallError):
                self._dial_failed(command, job, result)
            elif not job.cancelled:
                link.register(registered)

        if command.probe:
            link.health(running=True, answer=probed)
        else:
            link.register(registered)

    def _dial_failed(self, command: Dial, job: Job, error: CallError) -> None:
        if not job.cancelled:
            job.cancel()
            event = _DIAL_ANSWERS.get(error.kind, Event.REGISTRATION_FAILED)
            self._tell(Problem(event=event, scopes=command.scopes, text=error.text, code=error.code))

    def _conclude(self, command: Dial, link: Link, *, accepted: bool) -> None:
        if accepted:
            link.poll_ahead()
            self.link = link
            self._tell(Message(event=Event.REGISTRATION_ACCEPTED, scopes=command.scopes))
        else:
            link.close()
            self._tell(Problem(event=Event.REGISTRATION_REFUSED, scopes=command.scopes, text="shapes differ"))

    def check(self, command: CheckHealth) -> None:
        """Send a health check now; the first on a link begins the regular ones."""
        if self.link is None:
            return
        if self._checked is self.link:
            self._monitor.check_now()
        else:
            self._checked = self.link
            self._monitor.begin(self.link, command.scopes)

    def poll(self, command: Poll) -> Job:
        """Wait for an offer."""
        job = Job("poll")

        def answer(result: object) -> None:
            if isinstance(result, CallError):
                problem = Problem(event=Event.POLL_FAILED, scopes=command.scopes, text=result.text, code=result.code)
                self._tell(problem, job)
            else:
                offer = Offer(event=Event.EXPERIMENT_OFFERED, scopes=command.scopes, experiment=str(result))
                self._tell(offer, job)

        self._wait(job, answer)
        return job

    def watch(self, command: WatchOffers) -> Job:
        """Wait for an offer beside the work; failures are tried again."""
        job = Job("watch")
        attempt = 0

        def again() -> None:
            if not job.cancelled:
                self._wait(job, answer)

        def answer(result: object) -> None:
            nonlocal attempt
            attempt += 1
            if isinstance(result, CallError):
                self._kernel.after(retry_delay(attempt, self._kernel.rng), again)
            else:
                offer = Offer(event=Event.EXPERIMENT_REOFFERED, scopes=command.scopes, experiment=str(result))
                self._tell(offer, job)

        self._wait(job, answer)
        return job

    def _wait(self, job: Job, answer: Answer) -> None:
        """Poll until there is something else to say than that nothing came."""
        if self.link is None:
            answer(failure(CallKind.RETRYABLE, "UNAVAILABLE", "no channel"))
        else:
            poll = self.link.poll()
            job.on_cancel(poll.cancel)
            poll.wait(answer)

    def deliver(self, command: Deliver, run_over: Callable[[Job, Callable[[], None]], None], told: Answer) -> Job:
        """Send a report, once nothing of its run is left; `told` hears what the director answered OK to."""
        job = Job("deliver")
        report = command.report

        def answer(result: object) -> None:
            if isinstance(result, CallError):
                if result.kind is CallKind.REREGISTER and not job.cancelled:
                    self._monitor.check_now()
                problem = Problem(event=Event.REPORT_FAILED, scopes=command.scopes, text=result.text, code=result.code)
                self._tell(problem, job)
                return
            told(report.id)
            if not job.cancelled:
                self._tell(Message(event=Event.REPORT_DELIVERED, scopes=command.scopes), job)
                self._monitor.check_now()

        def send() -> None:
            link = self.link
            if link is None:
                answer(failure(CallKind.RETRYABLE, "UNAVAILABLE", "no channel"))
            elif report.verdict.is_failure_report and self._mute:
                self._tell(Message(event=Event.REPORT_UNDELIVERABLE, scopes=command.scopes), job)
            elif report.verdict.is_failure_report:
                link.report(report.experiment, answer)
            else:
                link.health(running=False, answer=answer)

        run_over(job, send)
        return job
