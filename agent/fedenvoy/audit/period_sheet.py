"""What a period's sheet says: how often and how long each state and each arrow of the chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fedenvoy.audit.moments import moment, span
from fedenvoy.audit.periods import Period, Stays
from fedenvoy.audit.runs import VERDICTS, Runs
from fedenvoy.audit.sheet import Column, Sheet

__all__ = ["count", "period_facts", "period_marks", "period_notes", "period_sheet"]

_COLUMNS = (
    *(Column("often", 0.07), Column("from", 0.23), Column("to", 0.23), Column("event", 0.23)),
    Column("stay before: median, longest", 0.24),
)


def period_sheet(period: Period, runs: Runs, node: str) -> Sheet:
    """Put a period on a sheet."""
    return Sheet(
        title=f"Summary of {node}",
        facts=tuple(period_facts(period, runs)),
        marks=period_marks(period),
        notes=period_notes(period),
        columns=_COLUMNS,
        rows=list(_rows(period)),
        foot="Blue: what was taken, and how often. Grey: what the chart permits and did not happen. Times are in UTC.",
    )


def count(number: int) -> str:
    """Write how often, in a few letters."""
    return f"{number}\N{MULTIPLICATION SIGN}" if number < 10_000 else f"{number // 1000}k"


def period_facts(period: Period, runs: Runs) -> Iterator[tuple[str, str]]:
    """Give what is known of the period as a whole."""
    since = moment(period.since) if period.since != float("-inf") else "the first record"
    until = moment(period.until) if period.until != float("inf") else "the last record"
    yield "period", f"from {since} to {until} (UTC)"
    if period.first is None or period.last is None:
        yield "records", "none"
        return
    number = len(period.sessions)
    yield (
        "records",
        (
            f"{period.records} in {number} session{'' if number == 1 else 's'}, "
            f"the first {moment(period.first)}, the last {moment(period.last)}"
        ),
    )
    begun = [run for run in runs.by_key.values() if period.since <= run.began < period.until]
    how = Counter(run.verdict for run in begun)
    told = [f"{how[verdict]} {verdict}" for verdict in VERDICTS if how[verdict]]
    told += [f"{how['']} without a verdict"] if how[""] else []
    yield "runs", f"{len(begun)} begun" + (f": {', '.join(told)}" if told else "")
    total = sum(stays.total for stays in period.states.values())
    training = period.states.get("Training", Stays()).total
    if total > 0:
        yield "time", f"{span(total)} in all, of which {span(training)} ({training / total:.0%}) in Training"


def period_marks(period: Period) -> dict[tuple[str, str], str]:
    """Give the arrows that were taken, with how often."""
    return {pair: count(sum(len(stays.each) for stays in events.values())) for pair, events in period.steps.items()}


def period_notes(period: Period) -> dict[str, list[str]]:
    """Give what stands beside each state."""
    return {state: list(_stayed(state, stays, period)) for state, stays in period.states.items()}


def _stayed(state: str, stays: Stays, period: Period) -> Iterator[str]:
    number = len(stays.each)
    yield f"{count(number)}, {span(stays.total)} in all"
    if number > 1:
        yield f"median {span(stays.middle)}, longest {span(stays.longest)}"
    inside = Counter({event: often for (where, event), often in period.within.items() if where == state})
    if inside:
        yield "in it: " + ", ".join(f"{event} {count(often)}" for event, often in inside.most_common(4))


def _rows(period: Period) -> Iterator[tuple[str, ...]]:
    """Give the steps, the most frequent first."""
    flat = [(*pair, event, stays) for pair, events in period.steps.items() for event, stays in events.items()]
    for source, target, event, stays in sorted(flat, key=lambda row: (-len(row[3].each), row[:3])):
        yield str(len(stays.each)), source, target, event, f"{span(stays.middle)}, {span(stays.longest)}"
