"""What one run's sheet says: the way it took, when, how long it stayed, who decided, and upon which digests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from fedenvoy.audit.moments import iso, moment, span
from fedenvoy.audit.runs import Run, unfinished
from fedenvoy.audit.sheet import Column, Sheet
from fedenvoy.audit.way import Line, Way
from fedenvoy.store import SessionEntry

__all__ = ["run_facts", "run_marks", "run_notes", "run_sheet"]

_COLUMNS = (Column("step", 0.045), Column("time (UTC)", 0.145), Column("what", 0.43), Column("words", 0.38))
_STAYS = 2
"""Times in one state that are told beside it; all stand in the table."""
_SHORT = 16


def run_sheet(run: Run, way: Way, session: SessionEntry, node: str, others: int) -> Sheet:
    """Put a run on a sheet.

    Args:
        run: The run.
        way: What it did.
        session: Its session.
        node: Whose journal it is.
        others: How many other runs of this name the journal tells of.

    """
    more = f"; {others} other {'run' if others == 1 else 'runs'} of this name" if others else ""
    return Sheet(
        title=f"Experiment '{run.experiment}': {unfinished(run, session)}",
        facts=tuple(run_facts(run, session, node)),
        marks=run_marks(way),
        notes=run_notes(run, way),
        columns=_COLUMNS,
        rows=[_row(line) for line in way.lines],
        foot=f"Run {run.id}{more}. Blue: the way taken; numbers: its steps. Grey: what the chart permits beside it.",
    )


def run_facts(run: Run, session: SessionEntry, node: str) -> Iterator[tuple[str, str]]:
    """Give what is known of a run as a whole."""
    version = f", version {session.software}" if session.software else ""
    yield "node", f"{node}{version}"
    yield "offered", f"{moment(run.began)} UTC; over {moment(run.ended)}, after {span(run.ended - run.began)}"
    decision = run.decision
    if decision:
        yield ("approved" if decision.approved else "rejected"), f"{moment(decision.at)} UTC by {decision.by}"
    else:
        yield "decision", "none: it ended before anybody or anything decided"
    yield "archive", f"sha256 {run.digest}" if run.digest else "not whole, or its digest is not known"
    digests = [f"{name} sha256 {digits}..." for name, digits in _digests(run) if digits]
    if digests:
        yield "with it", ", ".join(digests)
    yield "verdict", _verdict(run, session)


def _digests(run: Run) -> tuple[tuple[str, str], ...]:
    decision = run.decision
    return () if decision is None else (("locked requirements", decision.lock), ("policy", decision.policy))


def _verdict(run: Run, session: SessionEntry) -> str:
    if not run.verdict:
        return unfinished(run, session)
    words = run.verdict + (f" ({run.how})" if run.how else "")
    if run.delivered is None:
        return f"{words}; not told to the director yet"
    return f"{words}; {run.outcome} {moment(run.delivered)} UTC"


def run_marks(way: Way) -> dict[tuple[str, str], str]:
    """Give the arrows that were taken, with the numbers of their steps."""
    marks: dict[tuple[str, str], list[int]] = {}
    for step in way.steps():
        if step.entry.source is not None:
            marks.setdefault((step.entry.source, step.entry.target), []).append(step.number)
    return {pair: _numbers(numbers) for pair, numbers in marks.items()}


def _numbers(numbers: list[int]) -> str:
    if len(numbers) <= 2:
        return ", ".join(map(str, numbers))
    return f"{numbers[0]}-{numbers[-1]}" if _in_a_row(numbers) else f"{numbers[0]}, ... {numbers[-1]}"


def _in_a_row(numbers: list[int]) -> bool:
    return all(after == before + 1 for before, after in pairwise(numbers))


def run_notes(run: Run, way: Way) -> dict[str, list[str]]:
    """Give what stands beside each state that was passed."""
    notes: dict[str, list[str]] = {}
    stays = list(way.stays())
    for stay in stays:
        notes.setdefault(stay.state, []).append(
            f"{_time(stay.entered)}, {'to the end' if stay.left is None else f'for {span(stay.left - stay.entered)}'}"
        )
    for state, lines in notes.items():
        if len(lines) > _STAYS:
            notes[state] = [*lines[: _STAYS - 1], f"and {len(lines) - _STAYS + 1} times more"]
    for step in way.steps():
        if words := _told(run, step):
            notes.setdefault(step.entry.source or step.entry.target, []).append(words)
    return notes


def _time(at: float) -> str:
    """Write a time in a few letters: the year stands in the head."""
    text = iso(at)
    return f"{text[5:10]} {text[11:21]}"


def _told(run: Run, step: Line) -> str:
    """Say what the end of a state was, where that matters to an auditor."""
    decision = run.decision
    if decision and step.entry.event in {"plan_approved", "plan_rejected"}:
        done = "approved" if decision.approved else "rejected"
        digests = [f"archive {run.digest[:_SHORT]}"] + [f"{name} {digits}" for name, digits in _digests(run) if digits]
        return f"{done} by {decision.by}; {', '.join(digests)}"
    if step.entry.outcome:
        return f"{run.verdict}: {step.entry.outcome} to the director"
    if step.entry.source in {"ReviewingPlan", "InstallingRequirements", "Training"}:
        return f"{step.entry.event}{': ' + step.entry.cause if step.entry.cause else ''}"
    return ""


def _row(line: Line) -> tuple[str, str, str, str]:
    entry = line.entry
    if line.number:
        way = f"{entry.source or '*'} \N{RIGHTWARDS ARROW} {entry.target}"
        return str(line.number), _time(entry.at), f"{way}: {entry.event}", entry.cause
    often = f", {line.times} times until {iso(line.last)[11:19]}" if line.times > 1 else ""
    return "", _time(entry.at), f"in {entry.target}: {entry.event}{often}", entry.cause
