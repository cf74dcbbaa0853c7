"""What is known of one experiment run so far, from its offer to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fedenvoy.app.jobs import Job
from fedenvoy.cancel import Cancel
from fedenvoy.ports import Engine, ExperimentFiles

__all__ = ["ARCHIVE", "WORKSPACE", "Run"]

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
        python: The interpreter of its environment; None: the node's own.
        watch: The background poll that ends with it.
        jobs: All jobs begun for it.
        over: Set once nothing of it is left.

    """

    number: int
    directory: Path | None = None
    files: ExperimentFiles | None = None
    engine: Engine | None = None
    python: Path | None = None
    watch: Job | None = None
    jobs: list[Job] = field(default_factory=list)
    over: Cancel = field(default_factory=Cancel)
