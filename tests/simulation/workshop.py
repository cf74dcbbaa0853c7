"""The experiment's side of the simulated agent: fetch, review, install and training as `app.experiments` does them."""

from __future__ import annotations

from collections.abc import Callable

from fedenvoy.calls import CallError, CallKind
from fedenvoy.commands import EndRun, Fetch, Launch, Prepare
from fedenvoy.config import AgentSettings
from fedenvoy.events import Approved, Message, Problem, RunEnded, Scopes
from fedenvoy_statecharts import Event

from simulation.child import Ending, Nursery
from simulation.jobs import Job, Tell
from simulation.kernel import Kernel
from simulation.link import Link
from simulation.network import failure
from simulation.schedule import Archive

__all__ = ["Site", "Workshop"]


class Site:
    """What experiments meet on this machine, whatever session asks.

    Attributes:
        full: While above zero, the disk holds no further archive.
        healed: Whether what failed by circumstance works by now.
        approved: The (session, run) whose plan was approved, with the archive.
        installed: Those whose environment is complete.

    """

    def __init__(self) -> None:
        self.full = 0
        self.healed = False
        self.approved: dict[tuple[str, int], Archive] = {}
        self.installed: set[tuple[str, int]] = set()


class _Run:
    """What is known of a run so far."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.archive: Archive | None = None
        self.jobs: list[Job] = []
        self.watch: Job | None = None
        self.over = Job("run")


class Workshop:
    """Holds the present run."""

    def __init__(
        self,
        *,
        kernel: Kernel,
        site: Site,
        nursery: Nursery,
        settings: AgentSettings,
        session: str,
        tell: Tell,
        link: Callable[[], Link | None],
    ) -> None:
        self._kernel = kernel
        self._site = site
        self._nursery = nursery
        self._settings = settings
        self._session = session
        self._tell = tell
        self._link = link
        self._run: _Run | None = None
        self._ending: _Run | None = None

    def archive(self) -> Archive | None:
        """Give the archive of the run in hand."""
        return self._run.archive if self._run else None

    def _begin(self, run: _Run, name: str, linger: float) -> Job:
        """Begin a job of a run; given up, it lingers for up to so many seconds."""
        job = Job(name)
        run.jobs.append(job)
        job.on_cancel(lambda: self._kernel.after(self._kernel.between(0.0, linger), job.finish))
        return job

    def _run_of(self, number: int) -> _Run:
        assert self._run is not None, "a command for a run that was never begun"
        assert self._run.number == number, "a command for another run than the one in hand"
        return self._run

    def fetch(self, command: Fetch) -> Job:
        """Download, verify, unpack, review."""
        if self._run is None or self._run.number != command.scopes.run:
            self._run = _Run(command.scopes.run)
        run = self._run
        job = self._begin(run, "fetch", 0.05)

        def received(result: Archive | CallError) -> None:
            if isinstance(result, CallError):
                withdrawn = result.kind is CallKind.WITHDRAWN
                event = Event.EXPERIMENT_WITHDRAWN if withdrawn else Event.FETCH_INTERRUPTED
                self._say(job, Problem(event=event, scopes=command.scopes, text=result.text, code=result.code))
            elif result.digest in command.settled:
                self._say(job, Message(event=Event.ARCHIVE_SETTLED, scopes=command.scopes))
            elif result.corrupt:
                self._say(job, _unusable(command.scopes, "archive", result.digest))
            else:
                self._kernel.after(result.review_time, lambda: self._review(command, run, job, result))

        link = self._link()
        if self._site.full:
            self._say(job, _unusable(command.scopes, "disk", ""))
        elif link is None:
            received(failure(CallKind.RETRYABLE, "UNAVAILABLE", "no channel"))
        else:
            job.on_cancel(link.download(command.experiment, received).cancel)
        return job

    def _review(self, command: Fetch, run: _Run, job: Job, archive: Archive) -> None:
        if job.cancelled:
            return
        run.archive = archive
        if archive.review == "raise":
            self._say(job, _unusable(command.scopes, "review", archive.digest))
        elif archive.review == "reject":
            text = "the reviewer did not approve the plan"
            problem = Problem(event=Event.PLAN_REJECTED, scopes=command.scopes, text=text, digest=archive.digest)
            self._say(job, problem)
        else:
            self._site.approved[self._session, run.number] = archive
            approved = Approved(
                event=Event.PLAN_APPROVED,
                scopes=command.scopes,
                digest=archive.digest,
                engine="callable",
                install=bool(archive.install),
            )
            self._say(job, approved)

    def prepare(self, command: Prepare) -> Job:
        """Build the environment."""
        run = self._run_of(command.scopes.run)
        job = self._begin(run, "install", 2.0)
        archive = run.archive
        assert archive is not None

        def built() -> None:
            if job.cancelled:
                return
            works = archive.install == "ok" or (archive.install == "network" and self._site.healed)
            if works:
                self._site.installed.add((self._session, run.number))
                self._say(job, Message(event=Event.REQUIREMENTS_READY, scopes=command.scopes))
            else:
                text = "the requirements cannot be installed"
                code = "network" if archive.install == "network" else "conflict"
                event = Event.REQUIREMENTS_FAILED
                self._say(job, Problem(event=event, scopes=command.scopes, text=text, code=code))

        self._kernel.after(archive.install_time, built)
        return job

    def launch(self, command: Launch) -> Job:
        """Start the experiment's process and wait for its end."""
        run = self._run_of(command.scopes.run)
        archive = run.archive
        assert archive is not None
        job = Job("train")
        run.jobs.append(job)
        child = self._nursery.start(archive, self._session, run.number, self._settings.kill_grace)
        job.on_cancel(child.ask)

        def ended(ending: Ending | None) -> None:
            if ending is not None and not ending.code:
                self._tell(RunEnded(event=Event.TRAINING_FINISHED, scopes=command.scopes), job)
            elif ending is not None:
                text = f"the process ended: {ending.code}"
                event = Event.EXPERIMENT_ORPHANED if ending.code == "aggregator" else Event.TRAINING_FAILED
                self._tell(Problem(event=event, scopes=command.scopes, text=text, code=ending.code), job)
            job.finish()

        child.on_end = ended
        return job

    def _say(self, job: Job, message: Message) -> None:
        self._tell(message, job)
        if not job.cancelled:
            self._kernel.after(0.001, job.finish)

    def watch(self, number: int, job: Job) -> None:
        """Tie a background poll to the run; a new one replaces the last."""
        run = self._run_of(number)
        if run.watch is not None:
            run.watch.cancel()
        run.watch = job

    def end(self, command: EndRun) -> None:
        """End everything of the run; its files are removed once nothing uses them any more."""
        run, self._run = self._run, None
        if run is None or run.number != command.scopes.run:
            return
        self._ending = run
        for job in (*run.jobs, *([run.watch] if run.watch else [])):
            job.cancel()
        left = [job for job in run.jobs if not job.done]

        def one_less() -> None:
            if all(job.done for job in left):
                self._kernel.after(0.005, run.over.finish)

        for job in left:
            job.on_done(one_less)
        if not left:
            one_less()

    def wait_over(self, job: Job, then: Callable[[], None]) -> None:
        """Go on when nothing is left of the run that is ending, unless the job is given up by then."""

        def go_on() -> None:
            if not job.cancelled:
                then()

        if self._ending is None:
            go_on()
        else:
            self._ending.over.on_done(go_on)

    def close(self) -> None:
        """Give everything up, as when the session ends."""
        for job in self._jobs():
            job.cancel()

    def abandon(self) -> None:
        """Forget everything, as when the process was killed."""
        for job in self._jobs():
            job.abandon()

    def _jobs(self) -> list[Job]:
        jobs: list[Job] = []
        for run in (self._run, self._ending):
            if run is not None:
                jobs += run.jobs
                jobs += [run.watch] if run.watch is not None else []
        return jobs


def _unusable(scopes: Scopes, code: str, digest: str) -> Problem:
    return Problem(event=Event.EXPERIMENT_UNUSABLE, scopes=scopes, text=f"unusable: {code}", code=code, digest=digest)
