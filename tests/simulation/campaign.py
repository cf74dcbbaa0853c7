"""Many histories in a row: what they covered, and every seed that went wrong with the command that shows it again."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedenvoy_statecharts import LIFECYCLE, __version__

from simulation.history import History, run_history
from simulation.kernel import Kernel
from simulation.plants import planted
from simulation.schedule import draw_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Campaign", "Case", "command", "every_kill", "quiet", "run_cases", "shrink"]


@dataclass(frozen=True, slots=True)
class Case:
    """One history to run.

    Attributes:
        seed: Makes it.
        kill: One more kill -9, before or after a record.
        left_out: Faults that are not to happen, by position.
        plant: A mistake planted on purpose; empty for none.

    """

    seed: int
    kill: tuple[str, int] | None = None
    left_out: frozenset[int] = frozenset()
    plant: str = ""

    def run(self, *, traced: bool = False) -> History:
        """Run it."""
        with planted(self.plant) if self.plant else nullcontext(), quiet():
            return run_history(self.seed, kill=self.kill, left_out=self.left_out, traced=traced)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the agent's log away: a failing disk is what it is told to be."""
    logger = logging.getLogger("fedenvoy.loop")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def command(case: Case) -> str:
    """Give the command that shows a case with its trace."""
    words = ["python -m simulation", f"--seed {case.seed}"]
    if case.kill is not None:
        words.append(f"--kill {case.kill[0]}:{case.kill[1]}")
    if case.left_out:
        words.append(f"--without {','.join(map(str, sorted(case.left_out)))}")
    if case.plant:
        words.append(f"--plant '{case.plant}'")
    return " ".join(words)


def every_kill(seed: int) -> list[Case]:
    """Give the cases that kill the agent before and after every record of one history."""
    records = Case(seed).run().records
    return [Case(seed, kill=(when, number)) for number in range(1, records + 1) for when in ("before", "after")]


def shrink(case: Case) -> Case:
    """Leave out every fault without which the case still goes wrong."""
    for number in range(len(draw_schedule(Kernel(case.seed)).faults)):
        smaller = Case(case.seed, case.kill, case.left_out | {number}, case.plant)
        if smaller.run().wrong:
            case = smaller
    return case


@dataclass
class Campaign:
    """The sum of many histories."""

    histories: int = 0
    wrong: list[tuple[Case, str]] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    peaks: dict[str, int] = field(default_factory=dict)
    virtual: float = 0.0
    seconds: float = 0.0

    def add(self, case: Case, history: History) -> None:
        """Count one in."""
        self.histories += 1
        self.rows += history.rows
        self.virtual += history.virtual
        for name in ("records", "sessions", "calls", "verdicts"):
            self.sums[name] += getattr(history, name)
        for rpc, peak in history.peaks.items():
            self.peaks[rpc] = max(peak, self.peaks.get(rpc, 0))
        if history.wrong:
            self.wrong.append((case, history.wrong))

    def merge(self, other: Campaign) -> None:
        """Count another campaign in."""
        self.histories += other.histories
        self.wrong += other.wrong
        self.sums += other.sums
        self.rows += other.rows
        self.virtual += other.virtual
        for rpc, peak in other.peaks.items():
            self.peaks[rpc] = max(peak, self.peaks.get(rpc, 0))

    @property
    def never_taken(self) -> list[str]:
        """The rows of the table that no history took."""
        rows = {LIFECYCLE.row_id(row): str(row) for row in LIFECYCLE.rows}
        return [f"{name} {row}" for name, row in rows.items() if not self.rows[name]]

    def lines(self) -> list[str]:
        """Sum it up for people."""
        rows, taken = len(LIFECYCLE.rows), len(LIFECYCLE.rows) - len(self.never_taken)
        hours, peaks = self.virtual / 3600, ", ".join(f"{rpc} {peak}" for rpc, peak in self.peaks.items())
        return [
            f"{self.histories} histories, {len(self.wrong)} wrong; {hours:.0f} virtual hours in {self.seconds:.0f} s",
            ", ".join(f"{count} {name}" for name, count in self.sums.items()),
            f"{taken} of {rows} rows taken; most calls in a minute: {peaks}",
            *(f"WRONG {wrong}\n      {command(case)}" for case, wrong in self.wrong),
        ]

    def as_json(self) -> dict[str, Any]:
        """Give everything for a result file."""
        return {
            "what": "the whole agent in simulation: seeded schedules of faults on a virtual clock",
            "version": __version__,
            "python": platform.python_version(),
            "histories": self.histories,
            "wrong": [{"what": wrong, "command": command(case)} for case, wrong in self.wrong],
            **self.sums,
            "virtual_hours": round(self.virtual / 3600, 1),
            "seconds": round(self.seconds, 1),
            "rows": len(LIFECYCLE.rows),
            "rows_never_taken": self.never_taken,
            "most_calls_in_a_minute": self.peaks,
        }

    def write(self, path: Path) -> None:
        """Write the result file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")


def _run_all(cases: list[Case]) -> Campaign:
    campaign = Campaign()
    for case in cases:
        campaign.add(case, case.run())
    return campaign


def run_cases(cases: Iterable[Case], jobs: int = 1) -> Campaign:
    """Run many; with several jobs in as many processes, which changes nothing but the time."""
    began, all_cases = time.monotonic(), list(cases)
    if jobs == 1:
        campaign = _run_all(all_cases)
    else:
        campaign = Campaign()
        shares = [all_cases[i : i + 500] for i in range(0, len(all_cases), 500)]
        with ProcessPoolExecutor(jobs) as pool:
            for part in pool.map(_run_all, shares):
                campaign.merge(part)
    campaign.seconds = time.monotonic() - began
    return campaign


def cases_of(seeds: Iterable[int], kill_seeds: Iterable[int]) -> list[Case]:
    """Give the cases of a campaign: every seed, and every kill of some."""
    return [*(Case(seed) for seed in seeds), *chain.from_iterable(every_kill(seed) for seed in kill_seeds)]
