"""From an approved plan to its end: the environment, and the experiment's process."""

from __future__ import annotations

import contextlib
import logging

from fedenvoy_statecharts import Event

from fedenvoy.app.gpus import UnfitError
from fedenvoy.app.reaching import reaching
from fedenvoy.app.run import Run, disk_or_environment
from fedenvoy.app.site import Site
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.commands import Launch, Prepare
from fedenvoy.engines.process import ChildResult, run_child
from fedenvoy.events import Message, Post, Problem, RunEnded
from fedenvoy.logs import bounded
from fedenvoy.ports import RunSpec
from fedenvoy.workspace.environments import RequirementsError

__all__ = ["Preparing", "Training"]

logger = logging.getLogger(__name__)

_ORPHANED = "aggregator"
"""The child's code for: nobody drives this run any more."""


class Preparing:
    """The work of one `Prepare` command.

    Args:
        site: What this node gives.
        post: Tells the owner thread.
        command: The command.
        run: Gets the environment's interpreter.

    """

    def __init__(self, site: Site, post: Post, command: Prepare, run: Run) -> None:
        self._site = site
        self._post = post
        self._command = command
        self._run = run

    def work(self, cancel: Cancel) -> None:
        """Build or reuse the environment, and post the answer."""
        run = self._run
        assert run.files is not None
        assert run.engine is not None
        try:
            run.python = self._site.build(run.files, run.engine, run.locked, cancel)
        except RequirementsError as error:
            self.failed(error, error.kind, error.tail)
        except OSError as error:
            self.failed(error, disk_or_environment(error))
        else:
            self._post(Message(event=Event.REQUIREMENTS_READY, scopes=self._command.scopes))

    def failed(self, error: Exception, code: str = "environment", detail: str = "") -> None:
        """Post that there is no environment."""
        if code != "disk":
            keep(self._site, self._run, self._command.experiment, f"{code}: {error}\n\n{detail}")
        self._run.make_room(code)
        scopes = self._command.scopes
        self._post(Problem(event=Event.REQUIREMENTS_FAILED, scopes=scopes, text=str(error), code=code, detail=detail))


class Training:
    """The work of one `Launch` command.

    Args:
        site: What this node gives.
        post: Tells the owner thread.
        command: The command.
        run: What is to be run.

    """

    def __init__(self, site: Site, post: Post, command: Launch, run: Run) -> None:
        self._site = site
        self._post = post
        self._command = command
        self._run = run

    def work(self, cancel: Cancel) -> None:
        """Start the experiment's process, wait for its end, and post the answer."""
        python = self._run.python
        try:
            with contextlib.nullcontext() if python is None else self._site.environments.in_use(python):
                result = self._train(cancel)
            cancel.raise_if_cancelled()
        except Cancelled:
            keep(self._site, self._run, self._command.experiment, "it was ended by this node")
            raise
        words = "it finished" if result.ok else f"{result.code}: {result.error}\n\n{result.detail}"
        if result.code == "disk":
            self._run.make_room(result.code)
        else:
            keep(self._site, self._run, self._command.experiment, words, failed=not result.ok)
        if result.ok:
            self._post(RunEnded(event=Event.TRAINING_FINISHED, scopes=self._command.scopes, metrics=result.metrics))
            return
        orphaned = result.code == _ORPHANED
        self._post(
            Problem(
                event=Event.EXPERIMENT_ORPHANED if orphaned else Event.TRAINING_FAILED,
                scopes=self._command.scopes,
                text=result.error,
                code=result.code,
                detail=result.detail,
                summary=result.summary,
            )
        )

    def _train(self, cancel: Cancel) -> ChildResult:
        run, config = self._run, self._site.config
        assert run.files is not None
        assert run.engine is not None
        assert run.directory is not None
        engine, python = run.engine, run.python or self._site.python

        gpus = self._site.gpus

        def start(spec: RunSpec, ended: Cancel) -> ChildResult:
            with self._site.hosting.grouped(spec) as grouped:
                return run_child(
                    grouped,
                    engine.program(),
                    python,
                    env={**self._site.hosting.environment, **(gpus.variables() if gpus else {})},
                    grace=config.agent.kill_grace,
                    cancel=ended,
                    timeout=config.agent.max_run_time or None,
                )

        spec = self._site.run_spec(run.directory, run.files)
        try:
            with gpus.held(cancel) if gpus else contextlib.nullcontext():
                return reaching(self._site, run, spec, cancel, start)
        except UnfitError as error:
            return ChildResult(ok=False, error=str(error), code="environment")

    def failed(self, error: Exception) -> None:
        """Post that the run failed for a reason that nobody foresaw."""
        self._post(
            Problem(event=Event.TRAINING_FAILED, scopes=self._command.scopes, text=str(error), code="environment")
        )


def keep(site: Site, run: Run, experiment: str, words: str, *, failed: bool = True) -> None:
    """Keep what a run printed and what became of it, and say where."""
    if run.directory is None:
        return
    digest = run.files.digest if run.files else ""
    place = site.hosting.keep(run.directory, f"experiment {experiment!r}\nsha256 {digest}\n{words}")
    if place is not None and failed:
        logger.info(
            "what experiment %r printed, and all that is known of its end, is in %s", bounded(experiment, 100), place
        )
