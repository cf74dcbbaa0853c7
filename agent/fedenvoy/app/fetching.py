"""From an offer to an approved plan: download, verify, unpack, choose an engine, review. Nothing of it runs here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from fedenvoy_statecharts import Event

from fedenvoy.app.gpus import UnfitError
from fedenvoy.app.reviewing import Reviewing, case_of
from fedenvoy.app.run import ARCHIVE, WORKSPACE, Run, disk_or_environment
from fedenvoy.app.site import Site
from fedenvoy.calls import CallError, CallKind
from fedenvoy.cancel import Cancel
from fedenvoy.commands import Fetch
from fedenvoy.engines.registry import choose
from fedenvoy.events import Approved, Message, Post, Problem
from fedenvoy.ports import DirectorPort, Engine, ExperimentFiles
from fedenvoy.review import ReviewError
from fedenvoy.workspace.environments import RequirementsError
from fedenvoy.workspace.intake import ArchiveError, receive, unpack
from fedenvoy.workspace.runs import make_run

__all__ = ["Fetching"]

logger = logging.getLogger(__name__)


class Fetching:
    """The work of one `Fetch` command.

    Args:
        site: What this node gives.
        post: Tells the owner thread.
        link: Gives the present channel to the director.
        command: The command.
        run: Gets directory, files and engine.

    """

    def __init__(
        self, site: Site, post: Post, link: Callable[[], DirectorPort | None], command: Fetch, run: Run
    ) -> None:
        self._site = site
        self._post = post
        self._link = link
        self._command = command
        self._run = run
        self._digest = ""

    def work(self, cancel: Cancel) -> None:
        """Do it, and post the answer; a second try of the same run begins with an empty directory."""
        if self._site.gpus is not None and (unfit := self._site.gpus.fails()):
            self.failed(UnfitError(unfit))
            return
        try:
            self._run.directory = make_run(self._site.node_dir, self._site.session, self._run.number)
            self._digest = self._download(self._run.directory, cancel)
            if self._digest in self._command.settled:
                self._post(Message(event=Event.ARCHIVE_SETTLED, scopes=self._command.scopes))
                return
            self._post(self._examine(self._run.directory, cancel))
        except CallError as error:
            cancel.raise_if_cancelled()
            event = Event.EXPERIMENT_WITHDRAWN if error.kind is CallKind.WITHDRAWN else Event.FETCH_INTERRUPTED
            self._post(Problem(event=event, scopes=self._command.scopes, text=error.text, code=error.code))
        except ReviewError as error:
            self.failed(error, "review")
        except ArchiveError as error:
            self.failed(error, error.code)
        except RequirementsError as error:
            self.failed(error, error.kind, error.tail)
        except ValueError as error:
            self.failed(error, "plan")
        except OSError as error:
            self.failed(error, disk_or_environment(error))

    def failed(self, error: Exception, code: str = "environment", detail: str = "") -> None:
        """Post that the experiment cannot be used."""
        self._run.make_room(code)
        self._post(
            Problem(
                event=Event.EXPERIMENT_UNUSABLE,
                scopes=self._command.scopes,
                text=str(error),
                code=code,
                detail=detail,
                digest=self._digest,
            )
        )

    def _download(self, directory: Path, cancel: Cancel) -> str:
        link = self._link()
        if link is None:
            raise CallError(kind=CallKind.RETRYABLE, code="UNAVAILABLE", text="there is no channel to the director")
        chunks = link.experiment_data(self._command.experiment, lambda call: cancel.on_cancel(call.cancel))
        digest = receive(_begun(chunks), directory / ARCHIVE, self._site.config.agent.archive, cancel)
        logger.info("received the archive of %r, sha256 %s", self._command.experiment[:100], digest)
        return digest

    def _examine(self, directory: Path, cancel: Cancel) -> Message:
        """Unpack, read the plan, ask the reviewer."""
        settings = self._site.config.agent
        files = unpack(directory / ARCHIVE, self._digest, directory / WORKSPACE, settings.archive, cancel)
        engine = choose(files.plan)
        engine.check(files.plan, files.workspace)
        self._run.files, self._run.engine = files, engine
        install = self._install_wanted(files, engine)
        if install and self._site.reviews:
            self._run.locked = self._site.lock(files, engine, cancel)
        case = case_of(self._command.experiment, files, engine, self._run.locked)
        decision = Reviewing(self._site).decide(case, files.archive, cancel)
        if not decision.approved:
            return Problem(
                event=Event.PLAN_REJECTED, scopes=self._command.scopes, text=decision.words, digest=self._digest
            )
        self._run.reviewed = bool(decision.words)
        return Approved(
            event=Event.PLAN_APPROVED,
            scopes=self._command.scopes,
            digest=self._digest,
            engine=engine.name,
            install=install,
            reviewer=decision.words,
            lock=case.lock_digest if decision.words else "",
            policy=decision.policy,
        )

    def _install_wanted(self, files: ExperimentFiles, engine: Engine) -> bool:
        """Whether an environment must be built: the site allows it, and somebody needs something that is not there."""
        if not self._site.installs:
            return False
        if files.requirements:
            return True
        logger.info("the archive asks for no requirements")
        return not self._site.has_installed(engine.needs(files.plan).packages)


def _begun(chunks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
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
