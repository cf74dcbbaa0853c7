"""One experiment as it lies before those who decide about it: plain facts, gathered once, the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

__all__ = ["PastRun", "ReviewCase"]


@frozen
class ReviewCase:
    """What is known of an offered experiment before any of it runs."""

    experiment: str
    """Its name, as the director sent it; it may be any text."""
    digest: str
    """SHA-256 of the archive, hexadecimal."""
    size: int
    """Bytes of the archive as it was received."""
    plan: Mapping[str, Any] = field(repr=False)
    """The content of plan/plan.yaml."""
    plan_path: Path
    """Where the plan lies."""
    workspace: Path
    """The directory that the archive was unpacked into."""
    requirements: str
    """The lines of its requirements.txt that ask for something; empty when there are none."""
    lock: str
    """The locked requirements: every distribution with its version and hashes; empty where nothing is installed."""
    lock_digest: str
    """SHA-256 of the lock, hexadecimal; empty where there is none."""
    engine: str
    """The engine that would run it."""
    received_at: float
    """When the archive was complete, wall-clock seconds."""


@frozen
class PastRun:
    """An experiment that was let run here before."""

    experiment: str
    """Its name."""
    at: float
    """When it was approved, wall-clock seconds."""
