"""The agent's data beside its state: counters, the link, the run in hand, the outbox, what has settled.

Only the core changes these. They are plain values, so that a whole agent can be compared, copied and printed in a test.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedenvoy.commands import Report, Timer
from fedenvoy.core.snapshot import Declined
from fedenvoy.events import DeviceReading, Message, Problem, Scopes

__all__ = ["Data", "Link", "Memory", "Pending", "Run"]

RECHECK_FIRST = 60.0
"""Seconds after which an experiment that settled here is looked at again when it is still offered."""
RECHECK_FINISHED = 5.0
"""Likewise for one that finished here: its user may well send another under the same name."""
MOST_NAMES = 5000
"""Names of experiments of which something is remembered; as many as the store keeps of archives that are not run."""
RECHECK_LAST = 1800.0
"""The longest such pause; each look that finds the same archive doubles the pause up to it."""


@dataclass(slots=True)
class Link:
    """The channel to the director.

    Attributes:
        epoch: Its number; grows with every dial.
        up: Whether the director accepted this shard on it, and no check since has said otherwise.
        up_since: When it came up.
        down_since: Since when there is no link that has lived a while; what back-off is measured by.
        dials: Dials since a link last lived a while.
        rejections: Rejections (TLS, credentials, protocol) since then.
        misses: Health checks missed in a row.
        contact: When a health check was last answered; None before the first.
        latency: Seconds that the director took to answer it.
        period: Seconds between health checks, as the director wants it.

    """

    down_since: float
    epoch: int = 0
    up: bool = False
    up_since: float = 0.0
    dials: int = 0
    rejections: int = 0
    misses: int = 0
    contact: float | None = None
    latency: float = 0.0
    period: float = 60.0

    def lived(self, now: float, settle: float) -> bool:
        """Whether the link is up and has been for long enough to be trusted."""
        return self.up and now - self.up_since >= settle


@dataclass(slots=True)
class Run:
    """The experiment in hand.

    Attributes:
        number: Its number in this session.
        experiment: Name as the director knows it.
        fetches: Downloads of it that failed.
        cuts: Downloads of that name in a row that had begun and were cut; one that finds no director is not its
            fault, and ends by the failure detector.
        digest: SHA-256 of the approved archive; empty before.
        engine: Name of the engine; empty before approval.
        clocks: Those that run, of the two at whose end it counts as orphaned.

    """

    number: int
    experiment: str
    fetches: int = 0
    cuts: int = 0
    digest: str = ""
    engine: str = ""
    clocks: set[Timer] = field(default_factory=set)

    def cuts_with(self, interruption: Message) -> int:
        """Give the number of cut downloads when this one is counted."""
        unreached = isinstance(interruption, Problem) and interruption.code == "UNAVAILABLE"
        return self.cuts if unreached else self.cuts + 1


@dataclass(slots=True)
class Pending:
    """A report in the outbox.

    Attributes:
        report: What will be told.
        tries: Deliveries that failed in a row.
        postponed: How often it was put off, after so many of these that no more were made.
        due: Not before this time.

    """

    report: Report
    tries: int = 0
    postponed: int = 0
    due: float = 0.0


@dataclass(slots=True)
class Memory:
    """What is known of a name that settled, was withdrawn, or is to rest.

    Attributes:
        digests: Archives of that name that ended here by their own fault.
        finished: The archive of that name that last ended well here; empty when none did.
        pause: The present pause between two looks, seconds.
        recheck: When it may be looked at again.
        why: For people.

    """

    digests: set[str] = field(default_factory=set)
    finished: str = ""
    pause: float = RECHECK_FIRST
    recheck: float = 0.0
    why: str = ""

    def rest(self, now: float, why: str) -> None:
        """Decline the name until a first pause has passed."""
        self.pause, self.recheck, self.why = RECHECK_FIRST, now + RECHECK_FIRST, why

    def rest_after_good_end(self, now: float, digest: str) -> None:
        """Decline the name shortly; longer each time the same archive is offered and finishes again.

        A director whose rounds are not over when the work is done offers it again at once, and would keep the node busy
        with the same work for ever.
        """
        if not digest or digest != self.finished:
            self.pause = RECHECK_FINISHED
        self.finished = digest
        self.rest_longer(now, "it finished here")

    def rest_longer(self, now: float, why: str) -> None:
        """Decline it for the present pause, and make the next one longer."""
        self.recheck, self.why = now + self.pause, why
        self.pause = min(self.pause * 2, RECHECK_LAST)


@dataclass(slots=True)
class Data:
    """Everything beside the state.

    Attributes:
        entry: Entry number of the present state.
        runs: Runs begun in this session.
        link: The channel.
        run: The experiment in hand, or None.
        poll_failures: Failed polls in a row.
        poll_failed_at: When the last one failed.
        declines: Offers declined in a row.
        stopping: Whether a stop was requested.
        paused: Whether offers are declined on the site's wish.
        outbox: Reports waiting, oldest first.
        delivering: Id of the report being delivered; empty when none.
        memory: What is known of names, by name.
        cuts: Downloads in a row that took the link down with them, by experiment name.
        readings: The last GPU readings.
        stale: Events ignored because their scope was over, in this session.
        retry_at: When what was put off last is begun again (monotonic seconds); None when nothing was.

    """

    link: Link
    entry: int = 0
    runs: int = 0
    run: Run | None = None
    poll_failures: int = 0
    poll_failed_at: float = 0.0
    declines: int = 0
    stopping: bool = False
    paused: bool = False
    outbox: list[Pending] = field(default_factory=list)
    delivering: str = ""
    memory: dict[str, Memory] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    readings: tuple[DeviceReading, ...] = ()
    stale: int = 0
    retry_at: float | None = None

    @property
    def scopes(self) -> Scopes:
        """The present numbers, with which commands are stamped and events compared."""
        return Scopes(entry=self.entry, run=self.run.number if self.run else 0, link=self.link.epoch)

    def memory_of(self, experiment: str) -> Memory:
        """Give what is known of a name, beginning a memory where there is none.

        There are as many names as a director thinks of: beyond `MOST_NAMES` another one is forgotten for it.
        """
        if experiment not in self.memory and len(self.memory) >= MOST_NAMES:
            least = min(self.memory, key=lambda name: (bool(self.memory[name].digests), self.memory[name].recheck))
            del self.memory[least]
        return self.memory.setdefault(experiment, Memory())

    def count_cuts(self, experiment: str, cuts: int) -> None:
        """Note how often downloads of a name were cut; of too many names, the one noted first is forgotten."""
        self.cuts.pop(experiment, None)
        self.cuts[experiment] = cuts
        if len(self.cuts) > MOST_NAMES:
            del self.cuts[next(iter(self.cuts))]

    def declined(self, now: float) -> tuple[Declined, ...]:
        """Give the names that rest, the one that is looked at again soonest first."""
        resting = [Declined(name, m.why, m.recheck) for name, m in self.memory.items() if m.recheck > now]
        return tuple(sorted(resting, key=lambda one: one.until))

    def enqueue(self, report: Report, now: float) -> None:
        """Put a report into the outbox, due at once."""
        self.outbox.append(Pending(report, due=now))

    def waiting(self, now: float, *, besides: str = "") -> list[Pending]:
        """Give the reports whose time has come, oldest first, leaving one out."""
        return [p for p in self.outbox if p.due <= now and p.report.id != besides]
