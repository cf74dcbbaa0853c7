"""Work in threads of its own: one job per activity, cancellable, and joined before the agent ends.

A job posts its own answer. Should it fail in a way that nobody foresaw, that too becomes an answer, so that no state
can wait for ever for a thread that has died.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from fedenvoy.cancel import Cancel, Cancelled

__all__ = ["Job", "Jobs"]

logger = logging.getLogger(__name__)


class Job:
    """One piece of work under way.

    Attributes:
        name: What it does, for thread names and logs.
        cancel: Set to give it up.

    """

    def __init__(self, name: str, work: Callable[[Cancel], None], failed: Callable[[Exception], None]) -> None:
        self.name = name
        self.cancel = Cancel()
        self._work = work
        self._failed = failed
        self._thread = threading.Thread(target=self._run, name=f"fedenvoy-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self.cancel)
        except Cancelled:
            logger.debug("%s was given up", self.name)
        except Exception as error:
            if self.cancel.cancelled:
                logger.debug("%s ended with %r after it was given up", self.name, error)
                return
            logger.exception("%s failed unexpectedly", self.name)
            self._failed(error)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its end; tell whether it has come."""
        self._thread.join(timeout)
        return not self._thread.is_alive()


class Jobs:
    """All jobs that may still be running. Used by the owner thread alone."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def start(self, name: str, work: Callable[[Cancel], None], failed: Callable[[Exception], None]) -> Job:
        """Begin a job.

        Args:
            name: What it does.
            work: Does it, and posts the answer; gives up when its argument is cancelled.
            failed: Posts an answer for an error that `work` did not expect.

        """
        self._jobs = [job for job in self._jobs if not job.join(0)]
        job = Job(name, work, failed)
        self._jobs.append(job)
        job.start()
        return job

    def close(self, timeout: float) -> list[str]:
        """Cancel all, wait up to `timeout` seconds for each, and give the names of those still running."""
        for job in self._jobs:
            job.cancel.cancel()
        return [job.name for job in self._jobs if not job.join(timeout)]
