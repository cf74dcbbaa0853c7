"""The experiment's side of the agent: holds the run in hand, begins its jobs, and removes what it leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fedenvoy.app.fetching import Fetching
from fedenvoy.app.jobs import Job, Jobs
from fedenvoy.app.launching import Launching
from fedenvoy.app.run import Run
from fedenvoy.app.running import Preparing
from fedenvoy.app.site import Site
from fedenvoy.cancel import Cancel
from fedenvoy.commands import EndRun, Fetch, Launch, Prepare
from fedenvoy.events import Post
from fedenvoy.ports import DirectorPort
from fedenvoy.workspace.runs import remove_run

__all__ = ["Experiments"]


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
        self._run: Run | None = None
        self._ending: Run | None = None

    def fetch(self, command: Fetch) -> Job:
        """Download, verify, unpack, review."""
        if self._run is None or self._run.number != command.scopes.run:
            self._run = Run(command.scopes.run)
        return self._begin(self._run, "fetch", Fetching(self._site, self._post, self._link, command, self._run))

    def prepare(self, command: Prepare) -> Job:
        """Build or reuse the environment."""
        run = self._run_of(command.scopes.run)
        return self._begin(run, "install", Preparing(self._site, self._post, command, run))

    def launch(self, command: Launch) -> Job:
        """Start the experiment's process and wait for its end."""
        run = self._run_of(command.scopes.run)
        return self._begin(run, "train", Launching(self._site, self._post, command, run))

    def _begin(self, run: Run, name: str, task: Fetching | Preparing | Launching) -> Job:
        job = self._jobs.start(name, task.work, task.failed)
        run.jobs.append(job)
        return job

    def watch(self, number: int, job: Job) -> None:
        """Tie a background poll to the run, so that it ends with it; a new one replaces the last."""
        run = self._run_of(number)
        if run.watch is not None:
            run.watch.cancel.cancel()
        run.watch = job

    def _run_of(self, number: int) -> Run:
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
