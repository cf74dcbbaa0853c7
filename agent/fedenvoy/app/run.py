"""What is known of one experiment run so far, from its offer to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fedenvoy.app.jobs import Job
from fedenvoy.cancel import Cancel
from fedenvoy.errors import DISK_FULL
from fedenvoy.ports import Engine, ExperimentFiles
from fedenvoy.workspace.runs import remove_run

if TYPE_CHECKING:
    from fedenvoy.workspace.environments import Locked

__all__ = ["ARCHIVE", "WORKSPACE", "Run", "disk_or_environment"]

ARCHIVE = "archive.zip"
WORKSPACE = "workspace"
"""What a run's directory holds, besides the child's own files."""


@dataclass(slots=True)
class Run:
    """One run. Its jobs fill it in, one after the other.

    Attributes:
        number: Its number in this session.
        directory: Where all of it lies.
        files: The archive after intake.
        engine: What runs it.
        locked: Its locked requirements, as they lay before policy and people; None: they had no part in it.
        reviewed: Whether somebody, or a policy, decided that it may run.
        python: The interpreter of its environment; None: the node's own.
        watch: The background poll that ends with it.
        jobs: All jobs begun for it.
        over: Set once nothing of it is left.

    """

    number: int
    directory: Path | None = None
    files: ExperimentFiles | None = None
    engine: Engine | None = None
    locked: Locked | None = None
    reviewed: bool = False
    python: Path | None = None
    watch: Job | None = None
    jobs: list[Job] = field(default_factory=list)
    over: Cancel = field(default_factory=Cancel)

    def make_room(self, code: str) -> None:
        """Remove its files if it fails for want of room: the journal, which must say so, may lie on the same disk."""
        if code == "disk" and self.directory is not None:
            remove_run(self.directory)


def disk_or_environment(error: OSError) -> str:
    """Give the code of what the system refused: `disk` where that is full, else `environment`."""
    return "disk" if error.errno in DISK_FULL else "environment"
