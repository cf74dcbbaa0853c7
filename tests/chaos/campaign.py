"""Many schedules, some at a time; what they covered, and each that went wrong with the command that runs it again."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fedenvoy_statecharts import __version__

from chaos.schedule import draw
from chaos.storm import Outcome, run

__all__ = ["Campaign", "command", "run_seeds"]


def _commit() -> str:
    """Name the sources; empty where they are not under version control."""
    root = Path(__file__).parents[2]
    argv = ["git", "describe", "--always", "--dirty=+"]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def command(seed: int) -> str:
    """Give the command that runs one schedule again."""
    return f"python -m chaos --seed {seed}"


@dataclass
class Campaign:
    """The outcomes of many schedules.

    Attributes:
        wanted: How many were asked for.
        outcomes: Those that were run.
        seconds: How long all took.

    """

    wanted: int
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def wrong(self) -> list[Outcome]:
        """Those that went wrong."""
        return [outcome for outcome in self.outcomes if outcome.wrong]

    def lines(self) -> list[str]:
        """Sum it up for people."""
        done = self.outcomes
        return [
            f"{len(done)} of {self.wanted} schedules, {len(self.wrong)} wrong; {self.seconds:.0f} s",
            ", ".join(f"{sum(getattr(o, name) for o in done)} {name}" for name in ("sessions", "records", "verdicts")),
            *(f"WRONG {'; '.join(outcome.wrong)}\n      {command(outcome.seed)}" for outcome in self.wrong),
        ]

    def as_json(self) -> dict[str, Any]:
        """Give everything for a result file."""
        homes = [outcome.home for outcome in self.outcomes]
        return {
            "what": "the real agent process among seeded schedules of real faults",
            "date": datetime.now(tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "version": __version__,
            "commit": _commit(),
            "python": platform.python_version(),
            "cores": len(os.sched_getaffinity(0)),
            "wanted": self.wanted,
            "schedules": len(self.outcomes),
            "wrong": [{"what": outcome.wrong, "command": command(outcome.seed)} for outcome in self.wrong],
            "sessions": sum(outcome.sessions for outcome in self.outcomes),
            "records": sum(outcome.records for outcome in self.outcomes),
            "verdicts": sum(outcome.verdicts for outcome in self.outcomes),
            "seconds": round(self.seconds, 1),
            "seconds_until_home": {
                "median": round(statistics.median(homes), 1) if homes else 0.0,
                "longest": round(max(homes, default=0.0), 1),
            },
        }

    def write(self, path: Path) -> None:
        """Write the result file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")


def run_seeds(
    seeds: Iterable[int],
    jobs: int = 1,
    *,
    until: float = float("inf"),
    keep: bool = False,
    told: Callable[[Outcome], object] = lambda _outcome: None,
) -> Campaign:
    """Run many schedules.

    Args:
        seeds: Theirs.
        jobs: How many at a time; most of each one's time is spent waiting.
        until: A moment of the monotonic clock after which none is begun any more.
        keep: Whether the directories of those that went wrong stay.
        told: Gets each outcome.

    """
    began, all_seeds = time.monotonic(), list(seeds)
    campaign = Campaign(len(all_seeds))

    def one(seed: int) -> None:
        if time.monotonic() > until:
            return
        root = Path(tempfile.mkdtemp(prefix=f"fedenvoy-chaos-{seed}-"))
        schedule = draw(seed)
        try:
            outcome = run(schedule, root)
        except Exception as error:  # a schedule that cannot be carried out is told like any other
            outcome = Outcome(seed, (f"{type(error).__name__}: {error}",), 0.0, 0.0, 0, 0, 0)
        campaign.outcomes.append(outcome)
        if not (keep and outcome.wrong):
            shutil.rmtree(root, ignore_errors=True)
        told(outcome)

    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(one, seed) for seed in all_seeds]:
            done.result()
    campaign.seconds = time.monotonic() - began
    return campaign
