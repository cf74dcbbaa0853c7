"""What must hold at every moment of a history, judged from outside the agent: from what it writes, asks for and tells,
and from what really happened.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fedenvoy.commands import CancelActivity, Command, Deliver, Fetch, Launch, Prepare, Record, Report, Verdict
from fedenvoy_statecharts import Event, State

from simulation.journal import JournalReader, Violation
from simulation.schedule import Archive

if TYPE_CHECKING:
    from simulation.agent import Agent
    from simulation.jobs import Job
    from simulation.world import World

__all__ = ["RATES", "Violation", "Witness"]

RATES = {"register": 120, "poll": 120, "health": 200, "data": 40, "report": 60}
"""Calls that the director gets in any minute of one session, at most, by method."""
OWN_FAULTS = frozenset({"archive", "conflict", "exception", "signal 11"})
CIRCUMSTANCES = frozenset({"disk", "network", "review"})
OFFERS_AT_ONCE = 15.0
"""Seconds after a registration within which a busy node must have heard of an offer that was there before."""
OFFERS_WITHIN = 80.0
"""Seconds within which it must have heard of a later one: tries that fail are a minute apart at most."""
SLACK = 1e-6
TEAR_DOWN = 1.0
"""Seconds that the end of the process may take beyond its children's grace."""


class Witness:
    """Sees everything, changes nothing, and raises Violation at the first wrong."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.journal = JournalReader()
        self.reports: dict[str, Report] = {}
        self.confirmed: set[str] = set()
        self._settled: set[tuple[str, str]] = set()
        self.peaks: dict[str, int] = dict.fromkeys(RATES, 0)
        self.calls = 0
        self._recent: dict[str, deque[float]] = {}
        self._registered_at = 0.0
        self._stop_due: float | None = None
        self._ended_at: float | None = None
        self._store_failed = False
        self._killed = False

    # --- sessions

    def session_begins(self, session: str) -> None:
        """A new process starts: nothing of an earlier one is alive, and no verdict is missing."""
        self.journal.begin(session)
        self._recent = {rpc: deque() for rpc in RATES}
        self._stop_due = self._ended_at = None
        self._store_failed = self._killed = False
        self._require(not self._world.nursery.alive, "a process of an earlier session lives on")
        self.no_verdict_is_lost()

    def killed(self) -> None:
        """The present process was killed."""
        self._killed = True

    def closing(self) -> None:
        """The session has ended; its process is about to."""
        self._ended_at = self._world.kernel.now

    def session_over(self, agent: Agent) -> None:
        """A process is over."""
        self.journal.end(broken_off=self._killed or self._store_failed)
        if self._killed:
            return
        left = [child for child in self._world.nursery.alive if child.session == agent.session]
        self._require(not left, "%s outlives its agent", *left[:1])
        assert self._ended_at is not None
        took = self._world.kernel.now - self._ended_at
        allowed = self._world.schedule.settings.kill_grace + TEAR_DOWN
        self._require(took <= allowed, "the process took %.1f s to end", took)

    # --- the owner thread

    def about_to_write(self, agent: Agent, record: Record) -> None:
        """A record is about to be written: nobody can have seen what it says."""
        last, snapshot = self.journal.last, agent.loop.snapshot
        if last is not None and not self._store_failed:
            seen = (snapshot.state, snapshot.scopes.entry)
            self._require(seen == (last.target, last.entry), "%s was seen before it was on disk", snapshot.state)
        if record.delivered:
            self._require(record.delivered in self._world.disk.outbox, "%s leaves no outbox", record.delivered)

    def unwritten(self) -> None:
        """A record could not be written."""
        self._store_failed = True

    def written(self, agent: Agent, record: Record) -> None:
        """A record was written."""
        self._world.kernel.log(
            "journal",
            "%s %3d %-4s %s --%s--> %s run %d link %d attempt %d %s %s%s",
            agent.session,
            record.number,
            record.row,
            record.source,
            record.event,
            record.target,
            record.run,
            record.link,
            record.attempt,
            record.experiment,
            record.cause,
            f", verdict {record.report.verdict.value}" if record.report else "",
        )
        self.journal.read(record)
        if record.report is not None:
            self._require(record.report.id in self._world.disk.outbox, "verdict %s is not in the outbox", record.report)
            self.reports[record.report.id] = record.report
            self._settles(record, record.report)
        if record.delivered:
            self._left_outbox(record)
        if record.forgotten:
            self._settled = {pair for pair in self._settled if pair[0] != record.forgotten}
        begins = record.event is Event.EXPERIMENT_OFFERED and record.target is State.REVIEWING_PLAN
        self._require(not (begins and self._world.disk.paused), "run %d begins while the node is paused", record.run)
        alone = record.cause.startswith("aggregator:")
        if record.event is Event.EXPERIMENT_ORPHANED and agent.loop.snapshot.link_up and not alone:
            self._orphaned(record)
        if record.event is Event.REGISTRATION_ACCEPTED:
            self._registered_at = self._world.kernel.now
        if record.event is Event.CANCEL_REQUESTED:
            aimed = record.cause.removeprefix("cancelled: ")
            self._require(aimed == f"run {record.run}", "a cancel of %s ended run %d", aimed, record.run)

    def _settles(self, record: Record, report: Report) -> None:
        """What failed by its own fault, or was rejected, is remembered on disk; what failed by circumstance is not."""
        code = record.cause.partition(":")[0]
        own = report.verdict is Verdict.REJECTED or (report.verdict is Verdict.FAILED and code in OWN_FAULTS)
        if own and report.digest:
            self._settled.add((report.experiment, report.digest))
            kept = record.settled is not None and record.settled.digest == report.digest
            self._require(kept, "%s is not remembered as settled", report)
        elif report.verdict is not Verdict.FAILED or code in CIRCUMSTANCES:
            self._require(record.settled is None, "%s is remembered, and was no fault of its own", report)

    def _orphaned(self, record: Record) -> None:
        """Nobody drives the run: then the director has not been offering it, in peace, for a good while."""
        world = self._world
        offered = world.director.experiments.get(record.experiment)
        if offered is not None and not offered.finished:
            ready = max(world.trouble_until, offered.ready_at)
            allowed = OFFERS_AT_ONCE if ready < self._registered_at else OFFERS_WITHIN
            peace = world.kernel.now - max(ready, self._registered_at)
            self._require(peace < allowed, "run %d is orphaned, but the director offers it", record.run)

    def _left_outbox(self, record: Record) -> None:
        """A report leaves the outbox because the director has answered, or because it has no ear for it."""
        report = self.reports[record.delivered]
        if record.outcome == "undeliverable":
            deaf = self._world.schedule.mute and report.verdict.is_failure_report
            self._require(deaf, "%s was given up", report.id)
            self.confirmed.add(report.id)
        self._require(report.id in self.confirmed, "%s was never answered OK", report.id)

    def commanded(self, agent: Agent, command: Command, archive: Archive | None) -> None:
        """A command is about to be carried out."""
        self._world.kernel.log("agent", "%s %s", type(command).__name__, command.scopes)
        snapshot, last = agent.loop.snapshot, self.journal.last
        if self._store_failed:
            self._require(isinstance(command, CancelActivity), "%s of a step that is not on disk", command)
        else:
            self._require(last is not None, "%s before the first record", type(command).__name__)
            assert last is not None
            on_disk = (last.target, last.entry, last.link)
            now = (snapshot.state, snapshot.scopes.entry, snapshot.scopes.link)
            self._require(now == on_disk, "%s of a step that is not on disk", type(command).__name__)
        if not isinstance(command, CancelActivity):
            current = command.scopes.current(snapshot.scopes, command.scope)
            self._require(current, "%s of %s, which is over", type(command).__name__, command.scopes)
        if isinstance(command, Fetch | Prepare | Launch):
            self._require(not snapshot.stopping, "%s while stopping", type(command).__name__)
        if isinstance(command, Prepare | Launch):
            self._approved(agent, command, archive)
        if isinstance(command, Deliver):
            held = command.report.id in self._world.disk.outbox
            self._require(held, "%s is delivered, but not in the outbox", command.report.id)

    def _approved(self, agent: Agent, command: Prepare | Launch, archive: Archive | None) -> None:
        key = (agent.session, command.scopes.run)
        approved = self._world.site.approved.get(key)
        self._require(approved is not None and approved is archive, "run %s goes on without approval", key)
        assert approved is not None
        self._require(approved.name == command.experiment, "another experiment was approved for run %s", key)
        if isinstance(command, Launch):
            ready = not approved.install or key in self._world.site.installed
            self._require(ready, "run %s is launched without its environment", key)
            key_settled = (approved.name, approved.digest)
            settled = key_settled in self._settled or key_settled in self._world.disk.settled
            self._require(not settled, "settled archive %s runs again", approved.digest)

    def began(self, before: Job | None, activity: Job) -> None:
        """An activity begins: the one before has answered, or was given up."""
        over = before is None or before.cancelled or before.answered
        self._require(over, "%s begins beside %s", activity.name, before and before.name)

    # --- what comes of it

    def called(self, rpc: str) -> None:
        """The director is called."""
        now, recent = self._world.kernel.now, self._recent[rpc]
        recent.append(now)
        while recent[0] <= now - 60.0:
            recent.popleft()
        self.calls += 1
        self.peaks[rpc] = max(self.peaks[rpc], len(recent))
        self._require(len(recent) <= RATES[rpc], "hot loop: %d calls of %s within a minute", len(recent), rpc)

    def told(self, report_id: object) -> None:
        """The director has answered OK to a report."""
        self.confirmed.add(str(report_id))

    def stop_asked(self, agent: Agent) -> None:
        """A stop was asked for: when it must be over depends on what is in hand."""
        if self._stop_due is not None:
            return
        settings, state = self._world.schedule.settings, agent.loop.snapshot.state
        reports = settings.stop_timeout if settings.on_stop == "report" else 0.0
        allowed = {
            State.REVIEWING_PLAN: reports,
            State.INSTALLING_REQUIREMENTS: reports,
            State.TRAINING: settings.drain_timeout + settings.stop_timeout,
            State.REPORTING: settings.stop_timeout,
        }
        self._stop_due = self._world.kernel.now + allowed.get(state, 0.0)

    def look(self) -> None:
        """Look around after every step."""
        agent, nursery = self._world.agent, self._world.nursery
        if nursery.alive:
            self._look_at_children(agent)
        if agent is None:
            return
        now, loop = self._world.kernel.now, agent.loop
        if loop.end is None and self._stop_due is not None and now > self._stop_due + SLACK:
            self._require(False, "a stop is not over in time, in %s", loop.snapshot.state)
        state = loop.snapshot.state
        if state is State.IDLE or state is State.REGISTERED:
            self._require(loop.snapshot.link_up, "%s without a registration", state)

    def _look_at_children(self, agent: Agent | None) -> None:
        alive = self._world.nursery.alive
        self._require(len(alive) <= 1, "two processes live: %s", alive)
        if agent is None or agent.loop.end is not None:
            return
        child, snapshot = alive[0], agent.loop.snapshot
        self._require(child.session == agent.session, "%s lives beside its successor's agent", child)
        if not child.asked:
            runs = snapshot.state is State.TRAINING and snapshot.scopes.run == child.run
            self._require(runs, "%s goes on in %s", child, snapshot.state)
        self._require(snapshot.state is not State.IDLE, "%s lives in Idle", child)

    def no_verdict_is_lost(self) -> None:
        """Every verdict was sent at least once, or waits in the outbox."""
        for report_id in self.reports:
            safe = report_id in self.confirmed or report_id in self._world.disk.outbox
            self._require(safe, "verdict %s was neither sent nor kept", report_id)

    def _require(self, condition: bool, text: str, *values: object) -> None:
        if not condition:
            raise Violation(text % values if values else text)
