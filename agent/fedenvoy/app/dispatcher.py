"""From commands to work: one method per kind of command, and the one activity that the present state may have."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fedenvoy_statecharts import Event

from fedenvoy.app.connection import Connection
from fedenvoy.app.jobs import Job, Jobs
from fedenvoy.app.site import Site
from fedenvoy.cancel import Cancel
from fedenvoy.commands import (
    CancelActivity,
    CheckHealth,
    Command,
    Deliver,
    DescribeShard,
    Dial,
    DropLink,
    EndRun,
    Fetch,
    Launch,
    Poll,
    Prepare,
    WatchOffers,
)
from fedenvoy.events import Post, Problem, Shard

if TYPE_CHECKING:
    from fedenvoy.app.experiments import Experiments

__all__ = ["Dispatcher"]

logger = logging.getLogger(__name__)

_IF_IT_CANNOT_START: dict[type[Command], Event] = {
    DescribeShard: Event.SHARD_UNUSABLE,
    Dial: Event.REGISTRATION_FAILED,
    Poll: Event.POLL_FAILED,
    Fetch: Event.FETCH_INTERRUPTED,
    Prepare: Event.REQUIREMENTS_FAILED,
    Launch: Event.TRAINING_FAILED,
    Deliver: Event.REPORT_FAILED,
}
"""What a state is told when its activity cannot even be begun (no thread to be had, for example)."""


class Dispatcher:
    """Carries out commands. Called by the owner thread alone; never blocks, never raises."""

    def __init__(self, *, site: Site, post: Post, jobs: Jobs, connection: Connection) -> None:
        self._site = site
        self._post = post
        self._jobs = jobs
        self._connection = connection
        self._experiments: Experiments | None = None
        self._activity: Job | None = None
        self._entry = 0
        self._ways: dict[type[Command], Callable[[Any], None]] = {
            DescribeShard: lambda c: self._begin(c, self._describe(c)),
            Poll: lambda c: self._begin(c, connection.poll(c)),
            Fetch: lambda c: self._begin(c, self.experiments.fetch(c)),
            Prepare: lambda c: self._begin(c, self.experiments.prepare(c)),
            Launch: lambda c: self._begin(c, self.experiments.launch(c)),
            Deliver: lambda c: self._begin(c, connection.deliver(c, self._wait_over)),
            Dial: connection.dial,
            DropLink: lambda _c: connection.drop(),
            CheckHealth: connection.check,
            WatchOffers: lambda c: self.experiments.watch(c.scopes.run, connection.watch(c)),
            CancelActivity: self._cancel,
            EndRun: lambda c: self.experiments.end(c),  # noqa: PLW0108 - made when first wanted
        }

    @property
    def experiments(self) -> Experiments:
        """The experiment's side; it loads what an idle node does not need, so it is made for the first offer."""
        if self._experiments is None:
            from fedenvoy.app.experiments import Experiments  # noqa: PLC0415

            connection = self._connection
            self._experiments = Experiments(
                site=self._site, post=self._post, jobs=self._jobs, link=lambda: connection.link
            )
        return self._experiments

    def _wait_over(self, cancel: Cancel) -> None:
        if self._experiments is not None:
            self._experiments.wait_over(cancel)

    def dispatch(self, command: Command) -> None:
        """Begin carrying a command out."""
        try:
            self._ways[type(command)](command)
        except Exception as error:
            logger.exception("%s could not be begun", type(command).__name__)
            event = _IF_IT_CANNOT_START.get(type(command))
            if event is not None:
                self._post(Problem(event=event, scopes=command.scopes, text=str(error), code="environment"))

    def _begin(self, command: Command, job: Job) -> None:
        self._activity, self._entry = job, command.scopes.entry

    def _cancel(self, command: CancelActivity) -> None:
        if self._activity is not None and self._entry == command.scopes.entry:
            self._activity.cancel.cancel()
            self._activity = None

    def close(self) -> None:
        """Cancel the activity that is under way."""
        if self._activity is not None:
            self._activity.cancel.cancel()

    def _describe(self, command: DescribeShard) -> Job:
        def failed(error: Exception) -> None:
            self._post(Problem(event=Event.SHARD_UNUSABLE, scopes=command.scopes, text=str(error)))

        def work(cancel: Cancel) -> None:
            try:
                description = self._site.describe(cancel, _load_link)
            except Exception as error:  # noqa: BLE001 - whatever a descriptor raises is the shard's problem
                cancel.raise_if_cancelled()
                failed(error)
            else:
                self._connection.shard = description
                isolation = str(self._site.confining.isolation())
                self._post(
                    Shard(
                        event=Event.SHARD_DESCRIBED,
                        scopes=command.scopes,
                        description=description,
                        isolation=isolation,
                    )
                )

        return self._jobs.start("describe", work, failed)


def _load_link() -> None:
    """Load gRPC while a child constructs the descriptor; with a second core that costs a start nothing."""
    with contextlib.suppress(Exception):  # dialling loads it too, and can say what is wrong
        import_module("fedenvoy.link.director")
