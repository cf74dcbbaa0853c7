"""Runs exactly what was approved: the workspace is unpacked again from the archive, which is hashed again.

Between an approval and its run lie minutes or days; whatever happened to the files meanwhile has no part in the run.
"""

from __future__ import annotations

from fedenvoy_statecharts import Event

from fedenvoy.app.run import Run, disk_or_environment
from fedenvoy.app.running import Training
from fedenvoy.app.site import Site
from fedenvoy.cancel import Cancel
from fedenvoy.commands import Launch
from fedenvoy.config import ArchiveSettings
from fedenvoy.core.verdicts import CIRCUMSTANCES
from fedenvoy.errors import FedenvoyError
from fedenvoy.events import Message, Post, Problem, RunEnded
from fedenvoy.review.kept import digest_of
from fedenvoy.workspace.intake import ArchiveError, unpack
from fedenvoy.workspace.runs import remove_run

__all__ = ["Launching"]


class TamperedError(FedenvoyError):
    """The archive on the disk is not the one that was approved."""


class Launching:
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
        self._training = Training(site, self._tell, command, run)

    def work(self, cancel: Cancel) -> None:
        """Make the workspace anew where somebody decided about it, train in it, and post the answer."""
        if self._run.reviewed:
            try:
                _renew(self._run, self._site.config.agent.archive, cancel)
            except TamperedError as error:
                self._unfit(str(error), "environment")
                return
            except ArchiveError as error:
                self._unfit(str(error), error.code)
                return
            except OSError as error:
                self._unfit(f"the approved archive cannot be read again: {error}", disk_or_environment(error))
                return
        self._training.work(cancel)

    def failed(self, error: Exception) -> None:
        """Post that the run failed for a reason that nobody foresaw."""
        self._training.failed(error)

    def _unfit(self, text: str, code: str) -> None:
        self._run.make_room(code)
        self._tell(Problem(event=Event.TRAINING_FAILED, scopes=self._command.scopes, text=text, code=code))

    def _tell(self, message: Message) -> None:
        """Pass the answer on. A run that came to its end has used its approval up; one that could not begin has not."""
        if self._run.reviewed and _is_own_end(message):
            self._site.holds.used(self._command.experiment)
        self._post(message)


def _is_own_end(message: Message) -> bool:
    """Whether a run ended well or by its own fault, and not because this node could not run it."""
    if isinstance(message, Problem):
        return message.event is Event.TRAINING_FAILED and message.code not in CIRCUMSTANCES
    return isinstance(message, RunEnded)


def _renew(run: Run, limits: ArchiveSettings, cancel: Cancel) -> None:
    """Unpack the workspace again.

    Raises:
        TamperedError: The archive is another by now.
        ArchiveError: It cannot be unpacked.
        OSError: It cannot be read.
        Cancelled: It is not wanted any more.

    """
    files = run.files
    assert files is not None
    found = digest_of(files.archive)
    if found != files.digest:
        raise TamperedError(
            f"the archive was changed on this machine after it was approved: its sha256 is {found}, approved was "
            f"{files.digest}"
        )
    if not remove_run(files.workspace):
        raise OSError(f"{files.workspace} cannot be removed")
    run.files = unpack(files.archive, files.digest, files.workspace, limits, cancel)
