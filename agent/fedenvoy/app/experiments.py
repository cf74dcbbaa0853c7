"""The experiment's side of the agent: carries out fetch, review, install and training, and removes what runs leave."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedenvoy_statecharts import Event

from fedenvoy.app.jobs import Job, Jobs
from fedenvoy.app.site import Site
from fedenvoy.calls import CallError, CallKind
from fedenvoy.cancel import Cancel
from fedenvoy.commands import EndRun, Fetch, Launch, Prepare
from fedenvoy.engines.process import child_environment, run_child
from fedenvoy.engines.registry import choose
from fedenvoy.events import Approved, Message, Post, Problem, RunEnded
from fedenvoy.ports import DirectorPort, Engine, ExperimentFiles
from fedenvoy.review import ReviewError, decide
from fedenvoy.workspace.environments import RequirementsError
from fedenvoy.workspace.intake import ArchiveError, receive, unpack
from fedenvoy.workspace.runs import make_run, remove_run

__all__ = ["Experiments"]

logger = logging.getLogger(__name__)

ARCHIVE = "archive.zip"
WORKSPACE = "workspace"
"""What a run's directory holds, besides the child's own files."""
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class _Run:
    """What is known of a run so far."""

    number: int
    directory: Path | None = None
    files: ExperimentFiles | None = None
    engine: Engine | None = None
    python: Path | None = None
    watch: Job | None = None
    jobs: list[Job] = field(default_factory=list)
    over: Cancel = field(default_factory=Cancel)
    """Set once nothing of the run is left."""


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass chunks on; a failure after the first is told as a cut download, whatever ended the connection."""
    begun = False
    try:
        for chunk in chunks:
            begun = True
            yield chunk
    except CallError as error:
        if not begun or error.kind is CallKind.CANCELLED:
            raise
        raise CallError(kind=error.kind, code="CUT", text=error.text) from error


class Experiments:
    """Holds the present run. Its methods are called by the owner thread alone; the work is done in jobs.

    Args:
        site: What this node gives to every experiment.
        post: Tells the owner thread.
        jobs: Where work is started.
        link: Gives the present channel to the director.

    """

    def __init__(self, *, site: Site, post: Post, jobs: Jobs, link: Callable[[], DirectorPort | None]) -> None:
        self._site = site
        self._post = post
        self._jobs = jobs
        self._link = link
        self._run: _Run | None = None
        self._ending: _Run | None = None

    def fetch(self, command: Fetch) -> Job:
        """Download, verify, unpack, review; a second try of the same run begins with an empty directory."""
        run = self._begin_run(command.scopes.run)

        def unusable(error: Exception, code: str = "", digest: str = "") -> None:
            self._post(
                Problem(
                    event=Event.EXPERIMENT_UNUSABLE,
                    scopes=command.scopes,
                    text=str(error),
                    code=code,
                    digest=digest,
                )
            )

        def work(cancel: Cancel) -> None:
            digest = ""
            try:
                run.directory = make_run(self._site.node_dir, self._site.session, run.number)
                digest = self._download(command, run.directory, cancel)
                if digest in command.settled:
                    self._post(Message(event=Event.ARCHIVE_SETTLED, scopes=command.scopes))
                    return
                self._post(self._examine(command, run, run.directory, digest, cancel))
            except CallError as error:
                cancel.raise_if_cancelled()
                withdrawn = error.kind is CallKind.WITHDRAWN
                event = Event.EXPERIMENT_WITHDRAWN if withdrawn else Event.FETCH_INTERRUPTED
                self._post(Problem(event=event, scopes=command.scopes, text=error.text, code=error.code))
            except ReviewError as error:
                unusable(error, "review", digest)
            except ArchiveError as error:
                unusable(error, error.code, digest)
            except ValueError as error:
                unusable(error, "plan", digest)
            except OSError as error:
                unusable(error, "disk" if error.errno in _DISK_FULL else "environment", digest)

        return self._begin(run, "fetch", work, unusable)

    def _download(self, command: Fetch, directory: Path, cancel: Cancel) -> str:
        link = self._link()
        if link is None:
            raise CallError(kind=CallKind.RETRYABLE, code="UNAVAILABLE", text="there is no channel to the director")
        chunks = link.experiment_data(command.experiment, lambda call: cancel.on_cancel(call.cancel))
        digest = receive(_begun(chunks), directory / ARCHIVE, self._site.config.agent.archive, cancel)
        logger.info("received the archive of %r, sha256 %s", command.experiment[:100], digest)
        return digest

    def _examine(self, command: Fetch, run: _Run, directory: Path, digest: str, cancel: Cancel) -> Message:
        """Unpack, read the plan, ask the reviewer; nothing of the archive runs here."""
        settings = self._site.config.agent
        files = unpack(directory / ARCHIVE, digest, directory / WORKSPACE, settings.archive, cancel)
        engine = choose(files.plan)
        engine.check(files.plan, files.workspace)
        run.files, run.engine = files, engine
        if self._site.review is not None:
            approved = decide(self._site.review, files.plan_path, settings.review.timeout, cancel)
            cancel.raise_if_cancelled()
            if not approved:
                text = "the reviewer did not approve the plan"
                return Problem(event=Event.PLAN_REJECTED, scopes=command.scopes, text=text, digest=digest)
        return Approved(
            event=Event.PLAN_APPROVED,
            scopes=command.scopes,
            digest=digest,
            engine=engine.name,
            install=self._install_wanted(files, engine),
            reviewer="approved by the reviewer" if self._site.review is not None else "",
        )

    def _install_wanted(self, files: ExperimentFiles, engine: Engine) -> bool:
        """Whether an environment must be built: the site allows it, and somebody needs something that is not there."""
        if not self._site.config.install_requirements:
            return False
        if files.requirements:
            return True
        logger.info("the archive asks for no requirements")
        return not self._site.has_installed(engine.needs(files.plan).packages)

    def prepare(self, command: Prepare) -> Job:
        """Build or reuse the environment."""
        run = self._run_of(command.scopes.run)

        def failed(error: Exception, code: str = "environment", detail: str = "") -> None:
            self._post(
                Problem(
                    event=Event.REQUIREMENTS_FAILED, scopes=command.scopes, text=str(error), code=code, detail=detail
                )
            )

        def work(cancel: Cancel) -> None:
            assert run.files is not None
            assert run.engine is not None
            try:
                run.python = self._site.environments.build(
                    requirements=run.files.requirements,
                    site=self._site.requirements,
                    needs=run.engine.needs(run.files.plan),
                    workspace=run.files.workspace,
                    inherit=self._site.inherit,
                    cancel=cancel,
                )
            except RequirementsError as error:
                failed(error, error.kind, error.tail)
            except OSError as error:
                failed(error, "disk" if error.errno in _DISK_FULL else "environment")
            else:
                self._post(Message(event=Event.REQUIREMENTS_READY, scopes=command.scopes))

        return self._begin(run, "install", work, failed)

    def launch(self, command: Launch) -> Job:
        """Start the experiment's process and wait for its end."""
        run = self._run_of(command.scopes.run)

        def failed(error: Exception, code: str = "environment", detail: str = "") -> None:
            self._post(
                Problem(event=Event.TRAINING_FAILED, scopes=command.scopes, text=str(error), code=code, detail=detail)
            )

        def work(cancel: Cancel) -> None:
            assert run.files is not None
            assert run.engine is not None
            assert run.directory is not None
            config = self._site.config
            result = run_child(
                self._site.run_spec(run.directory, run.files),
                run.engine.program(),
                run.python or self._site.python,
                env=child_environment(self._site.environ, config.cuda_devices, hide=config.agent.gpu.hide),
                grace=config.agent.kill_grace,
                cancel=cancel,
            )
            cancel.raise_if_cancelled()
            if result.ok:
                self._post(RunEnded(event=Event.TRAINING_FINISHED, scopes=command.scopes, metrics=result.metrics))
            else:
                self._post(
                    Problem(
                        event=Event.TRAINING_FAILED,
                        scopes=command.scopes,
                        text=result.error,
                        code=result.code,
                        detail=result.detail,
                    )
                )

        return self._begin(run, "train", work, failed)

    def _begin(self, run: _Run, name: str, work: Callable[[Cancel], None], failed: Callable[[Exception], None]) -> Job:
        job = self._jobs.start(name, work, failed)
        run.jobs.append(job)
        return job

    def watch(self, number: int, job: Job) -> None:
        """Tie a background poll to the run, so that it ends with it; a new one replaces the last."""
        run = self._run_of(number)
        if run.watch is not None:
            run.watch.cancel.cancel()
        run.watch = job

    def _begin_run(self, number: int) -> _Run:
        if self._run is None or self._run.number != number:
            self._run = _Run(number)
        return self._run

    def _run_of(self, number: int) -> _Run:
        assert self._run is not None
        assert self._run.number == number
        return self._run

    def end(self, command: EndRun) -> None:
        """End everything of the run; its files are removed once nothing uses them any more."""
        run, self._run = self._run, None
        if run is None or run.number != command.scopes.run:
            return
        self._ending = run
        for job in (*run.jobs, *([run.watch] if run.watch else [])):
            job.cancel.cancel()

        def work(_cancel: Cancel) -> None:
            try:
                for job in run.jobs:
                    job.join()
                if run.directory is not None:
                    remove_run(run.directory)
            finally:
                run.over.cancel()

        self._jobs.start("clean", work, lambda _error: None)

    def wait_over(self, cancel: Cancel) -> None:
        """Wait until nothing is left of the run that is ending; raise Cancelled when that is no longer wanted."""
        run = self._ending
        if run is None:
            return
        woken = threading.Event()
        removals = (cancel.on_cancel(woken.set), run.over.on_cancel(woken.set))
        woken.wait()
        for remove in removals:
            remove()
        cancel.raise_if_cancelled()
