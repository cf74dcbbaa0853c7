"""The director's side of the agent: carries out dial, health check, poll and delivery, each in a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fedenvoy_statecharts import Event

from fedenvoy.app.jobs import Job, Jobs
from fedenvoy.backoff import retry_delay
from fedenvoy.calls import CallError, CallKind
from fedenvoy.cancel import Cancel
from fedenvoy.commands import CheckHealth, Deliver, Dial, Poll, Report, WatchOffers
from fedenvoy.errors import FedenvoyError
from fedenvoy.events import DeviceReading, Message, Offer, Post, Problem, ShardDescription
from fedenvoy.monitor.detector import DEFAULT_PERIOD
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.ports import DirectorPort

__all__ = ["Connection", "words"]

logger = logging.getLogger(__name__)

DAY = 24 * 3600.0
CLOCK_SET = 1_577_836_800.0
"""Wall-clock time before which a report cannot have been made: the clock of the machine was not yet set."""
_DIAL_ANSWERS = {CallKind.REJECTED: Event.LINK_REJECTED, CallKind.REREGISTER: Event.SHARD_FORGOTTEN}
"""What a failed dial is told as; anything else may pass."""


def words(error: Exception) -> tuple[str, str]:
    """Give the sentence and the short key of an error."""
    return (error.text, error.code) if isinstance(error, CallError) else (str(error) or type(error).__name__, "")


class Connection:
    """Holds the present channel and the work that needs it. Its methods are called by the owner thread alone.

    Args:
        open_link: Opens a channel, given the last known seconds between health checks; reads the certificates anew.
        target: The director's address, for people.
        devices: The GPUs to register, in order.
        post: Tells the owner thread.
        jobs: Where work is started.
        monitor: Sends the health checks.
        readings: Gives the present GPU readings.
        unfit: Says why no experiment can be run at this moment; empty when one can. May take seconds.
        retention: Seconds after which an undelivered report is given up.

    """

    def __init__(
        self,
        *,
        open_link: Callable[[float], DirectorPort],
        target: str,
        devices: Sequence[int | str],
        post: Post,
        jobs: Jobs,
        monitor: HealthMonitor,
        readings: Callable[[], tuple[DeviceReading, ...]],
        retention: float,
        unfit: Callable[[], str] = lambda: "",
    ) -> None:
        self._open_link = open_link
        self._target = target
        self._devices = devices
        self._post = post
        self._jobs = jobs
        self._monitor = monitor
        self._readings = readings
        self._unfit = unfit
        self._retention = retention
        self._first_tried: dict[str, float] = {}
        self._link: DirectorPort | None = None
        self._period = DEFAULT_PERIOD
        self._checked: DirectorPort | None = None
        self._dialling: Job | None = None
        self._dials = 0
        """Grows with every dial and every end of a link: what an earlier dial brings comes too late."""
        self._guard = threading.Lock()
        self._rng = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self.shard: ShardDescription | None = None
        """What is registered; set once the shard has been described."""

    @property
    def link(self) -> DirectorPort | None:
        """The present channel; None while there is none."""
        return self._link

    def drop(self) -> None:
        """End the present channel with everything that runs on it, a dial under way included."""
        self._monitor.end()
        with self._guard:
            self._dials += 1
            link, self._link = self._link, None
        if link is not None:
            self._period = link.period
        if self._dialling is not None:
            self._dialling.cancel.cancel()
            self._dialling = None

    def dial(self, command: Dial) -> None:
        """Open a channel and register."""
        with self._guard:
            self._dials += 1
            number = self._dials

        def answer(error: CallError | Exception, event: Event) -> None:
            text, code = words(error)
            self._post(Problem(event=event, scopes=command.scopes, text=text, code=code))

        def work(cancel: Cancel) -> None:
            logger.info("dialling the director at %s", self._target)
            try:
                link = self._open_link(self._period)
                # The callback stays when the job is over: dropping the link closes the channel.
                cancel.on_cancel(link.close)
                assert self.shard is not None
                if command.probe:
                    link.health_check(running=True, readings=self._readings())
                accepted = link.register(self.shard, self._devices)
            except CallError as error:
                cancel.raise_if_cancelled()
                cancel.cancel()
                answer(error, _DIAL_ANSWERS.get(error.kind, Event.REGISTRATION_FAILED))
            except FedenvoyError as error:
                answer(error, Event.LINK_REJECTED)
            else:
                cancel.raise_if_cancelled()
                self._conclude_dial(command, link, number, accepted=accepted)

        self._dialling = self._jobs.start("dial", work, lambda error: answer(error, Event.REGISTRATION_FAILED))

    def _conclude_dial(self, command: Dial, link: DirectorPort, number: int, *, accepted: bool) -> None:
        if accepted:
            # Before anything else: until then the director fails whoever lists the nodes or submits.
            link.poll_ahead()
            with self._guard:
                present = number == self._dials
                if present:
                    self._link = link
            if not present:
                link.close()
                return
            self._post(Message(event=Event.REGISTRATION_ACCEPTED, scopes=command.scopes))
            return
        link.close()
        assert self.shard is not None
        text = (
            f"the director at {self._target} does not accept this shard: it registers sample shape "
            f"{list(self.shard.sample_shape)} and target shape {list(self.shard.target_shape)}, which must equal "
            "sample_shape and target_shape in the director's configuration"
        )
        self._post(Problem(event=Event.REGISTRATION_REFUSED, scopes=command.scopes, text=text))

    def check(self, command: CheckHealth) -> None:
        """Send a health check now; the first on a channel begins the regular ones."""
        if self._link is None:
            return
        if self._checked is self._link:
            self._monitor.check_now()
        else:
            self._checked = self._link
            self._monitor.begin(self._link, command.scopes)

    def poll(self, command: Poll) -> Job:
        """Wait for an offer."""

        def failed(error: Exception) -> None:
            text, code = words(error)
            self._post(Problem(event=Event.POLL_FAILED, scopes=command.scopes, text=text, code=code))

        def work(cancel: Cancel) -> None:
            try:
                experiment = self._wait(cancel)
            except CallError as error:
                cancel.raise_if_cancelled()
                failed(error)
            else:
                offer = Offer(event=Event.EXPERIMENT_OFFERED, scopes=command.scopes, experiment=experiment)
                self._post(replace(offer, unfit=self._unfit()))

        return self._jobs.start("poll", work, failed)

    def watch(self, command: WatchOffers) -> Job:
        """Wait for an offer beside the work; only an offer is told, failures are tried again."""

        def work(cancel: Cancel) -> None:
            attempt, experiment = 0, ""
            while not experiment:
                attempt += 1
                experiment = self._try_wait(cancel)
                if not experiment and cancel.wait(retry_delay(attempt, self._rng)):
                    return
            self._post(Offer(event=Event.EXPERIMENT_REOFFERED, scopes=command.scopes, experiment=experiment))

        return self._jobs.start("watch", work, lambda _error: None)

    def _try_wait(self, cancel: Cancel) -> str:
        try:
            return self._wait(cancel)
        except CallError as error:
            logger.debug("background poll failed: %s", error)
            return ""

    def _wait(self, cancel: Cancel) -> str:
        link = self._link
        if link is None:
            raise CallError(kind=CallKind.RETRYABLE, code="UNAVAILABLE", text="there is no channel to the director")
        return link.wait_experiment(lambda call: cancel.on_cancel(call.cancel))

    def deliver(self, command: Deliver, run_over: Callable[[Cancel], None]) -> Job:
        """Send a report.

        Args:
            command: Which.
            run_over: Waits until nothing of the run is left; the director must not hear of an end before it has come.

        """
        report = command.report
        expired = self._expired(report)

        def failed(error: Exception) -> None:
            text, code = words(error)
            self._post(Problem(event=Event.REPORT_FAILED, scopes=command.scopes, text=text, code=code))

        def work(cancel: Cancel) -> None:
            if expired:
                self._post(
                    Problem(event=Event.REPORT_UNDELIVERABLE, scopes=command.scopes, text=expired, code="expired")
                )
                return
            run_over(cancel)
            link = self._link
            try:
                if link is None:
                    raise CallError(kind=CallKind.RETRYABLE, code="UNAVAILABLE", text="there is no channel")
                if report.verdict.is_failure_report:
                    link.experiment_failed(report.experiment, report.code, _told(report))
                else:
                    link.health_check(running=False, readings=self._readings())
            except CallError as error:
                cancel.raise_if_cancelled()
                if error.kind is CallKind.REREGISTER:
                    # The monitor learns the same and leads to a new registration, after which this is sent again.
                    self._monitor.check_now()
                failed(error)
            else:
                self._first_tried.pop(report.id, None)
                self._post(Message(event=Event.REPORT_DELIVERED, scopes=command.scopes))
                self._monitor.check_now()

        return self._jobs.start("deliver", work, failed)

    def _expired(self, report: Report) -> str:
        """Say that a report is too old to be told; give nothing while it is not.

        By then the director may have another experiment of that name, which the report would end.
        """
        now = time.time()
        made_at = report.made_at if report.made_at >= CLOCK_SET else self._first_tried.setdefault(report.id, now)
        if now - made_at <= self._retention:
            return ""
        self._first_tried.pop(report.id, None)
        text = (
            f"the verdict on {report.experiment[:100]!r} ({report.verdict.value}) could not be delivered within "
            f"{self._retention / DAY:g} days and is given up"
        )
        logger.warning("%s", text)
        return text


def _told(report: Report) -> str:
    """Give a report's words, with the archive that it speaks of: a name may have had several."""
    return f"{report.text} (archive sha256 {report.digest})" if report.digest else report.text
