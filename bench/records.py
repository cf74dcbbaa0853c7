"""What a measurement leaves behind: samples with their units, the machine, the versions. Standard library only.

A result file is complete by itself: every figure that is published is computed from the samples in it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["FEDENVOY", "OPENFL", "RESULTS", "Conditions", "Result", "Series", "read", "read_all", "write"]

RESULTS = Path(__file__).parent / "results"
"""Where recorded results lie."""
OPENFL = "OpenFL 1.6"
FEDENVOY = "fedenvoy"


@dataclass(frozen=True)
class Series:
    """One quantity, measured on several things in turn.

    Attributes:
        title: What was measured.
        unit: "s", "MB" or "" (a count).
        samples: The values by the name of what was measured; `OPENFL` and `FEDENVOY` are two such names.
        headline: Whether the project's front page tells this one.
        note: What must be said below the table; empty: nothing.
        aside: What must be said beside the figure on the front page, in a few words; empty: nothing.

    """

    title: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    headline: bool = False
    note: str = ""
    aside: str = ""

    def median(self, name: str) -> float:
        """Give the median of what was measured on `name`."""
        return statistics.median(self.samples[name])

    def ratio(self, to: str) -> float | None:
        """Give fedenvoy's median in proportion to another; None where there is nothing to compare."""
        if to == FEDENVOY or FEDENVOY not in self.samples or not self.median(to):
            return None
        return self.median(FEDENVOY) / self.median(to)


@dataclass(frozen=True)
class Conditions:
    """Under what a result was taken.

    Attributes:
        date: Day and time, UTC.
        cpu: The processor's name.
        cores: How many of them could be used.
        memory_gb: The machine's memory.
        python: The interpreter of both sides.
        load_before: Load average of the last minute, before the part began.
        load_after: The same when it was over; the measured programs are in it.
        fedenvoy: Versions of fedenvoy and what it runs on, by distribution; `commit` names the sources.
        openfl: Versions of OpenFL and what it runs on.

    """

    date: str
    cpu: str
    cores: int
    memory_gb: int
    python: str
    load_before: float
    load_after: float
    fedenvoy: Mapping[str, str]
    openfl: Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """All that one part measured."""

    part: str
    conditions: Conditions
    series: Sequence[Series] = field(default_factory=tuple)


def write(result: Result, directory: Path) -> Path:
    """Write a result, with medians and ratios beside the samples; give the file."""
    content = asdict(result)
    for told, series in zip(content["series"], result.series, strict=True):
        told["median"] = {name: round(series.median(name), 4) for name in series.samples}
        told["ratio"] = {
            f"{FEDENVOY} / {name}": round(ratio, 3) for name in series.samples if (ratio := series.ratio(name))
        }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.part}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return path


def read(path: Path) -> Result:
    """Read a result.

    Raises:
        ValueError: What the file says of its samples is not what they give.

    """
    content = json.loads(path.read_text("utf-8"))
    series = []
    for told in content["series"]:
        medians = told.pop("median")
        told.pop("ratio")
        one = Series(**told)
        if medians != {name: round(one.median(name), 4) for name in one.samples}:
            raise ValueError(f"{path.name}: the medians of {one.title!r} are not those of its samples")
        series.append(one)
    return Result(content["part"], Conditions(**content["conditions"]), tuple(series))


def read_all(directory: Path, parts: Sequence[str]) -> list[Result]:
    """Read the results there are, in the order of `parts`."""
    return [read(path) for part in parts if (path := directory / f"{part}.json").exists()]
