"""A status for people: aligned, short, in the local time, and safe to print whatever an experiment is called."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from fedenvoy.logs import bounded, escape
from fedenvoy.status.gpus import gpu_lines
from fedenvoy.status.model import Status, Transition

__all__ = ["span", "written"]

_WIDTH = 15
_LONGEST = 200
_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def span(seconds: float) -> str:
    """Write a duration with its two largest units: `3 s`, `2 h 13 min`, `4 d 1 h`."""
    whole = max(0, round(seconds))
    for large, name, small, smaller in _UNITS:
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def written(status: Status) -> str:
    """Give the whole text, without a line end."""
    node = _safe(f"{status.node.shard_name} at {status.node.director}")
    lines = [f"{node}: {_headline(status)}"]
    if status.not_training:
        lines.append(f"  {'not training':{_WIDTH}} {_safe(status.not_training, 1000)}")
    lines += [f"  {name:{_WIDTH}} {text}".rstrip() for name, text in _facts(status)]
    if status.transitions:
        lines.append("  last transitions")
        lines += [f"    {line}" for line in _transitions(status)]
    return "\n".join(lines)


def _headline(status: Status) -> str:
    if status.state is None:
        return "never started"
    if status.agent.running:
        return f"{status.state}{', stopping' if status.agent.stopping else ''}"
    return f"not running (last state {status.state})"


def _facts(status: Status) -> Iterator[tuple[str, str]]:
    now = status.at
    yield "agent", _agent(status)
    yield "since", _moment(status.since, now)
    if status.experiment is None:
        yield "experiment", "none"
    else:
        hand = status.experiment
        age = f", for {span(hand.age)}" if hand.age is not None else ""
        yield "experiment", f"{_quoted(hand.name)}, run {hand.run}{age}"
    if status.review is not None:
        case = status.review
        yield (
            "review",
            (
                f"waits for approval since {_moment(case.since, now)}, {case.approvals} of {case.needed}, rejected in "
                f"{span(case.deadline - now)}; {_safe(case.why)}"
            ),
        )
    yield "link", _link(status)
    if status.retry:
        yield "next retry", f"{status.retry.what} in {span(status.retry.seconds)}"
    yield from _listed(
        "outbox",
        [f"{_quoted(one.experiment)} {one.verdict}, for {span(now - one.since)}" for one in status.outbox],
    )
    yield from _listed(
        "declined",
        [
            f"{_quoted(one.experiment)} {f'for {span(one.until - now)}' if one.until else 'until it changes'}: "
            f"{_safe(one.why)}"
            for one in status.declined
        ],
    )
    yield from ((name, _safe(line, 400)) for name, line in gpu_lines(status.gpus, span))
    yield "paused", "yes" if status.paused else "no"
    if status.isolation:
        yield "isolation", _safe(status.isolation, 400)
    for problem in status.problems:
        yield "problem", _safe(problem, 1000)
    yield "state directory", _safe(status.node.directory, 1000)


def _listed(name: str, entries: list[str]) -> Iterator[tuple[str, str]]:
    """Give one line per entry, the name on the first alone."""
    for number, entry in enumerate(entries or ["none"]):
        yield ("" if number else name), entry


def _agent(status: Status) -> str:
    agent = status.agent
    if not agent.running:
        return "not running"
    words = f"process {agent.pid}"
    if agent.version:
        words += f", version {agent.version}"
    if agent.started is not None:
        words += f", for {span(status.at - agent.started)}"
    return words if agent.answering else f"{words}, does not answer"


def _link(status: Status) -> str:
    link = status.link
    words = {True: "up", False: "down", None: "not known"}[link.up]
    if link.misses:
        words += f", {link.misses} health check{'s' if link.misses > 1 else ''} missed"
    if link.last_contact is None:
        return f"{words}; no health check was answered yet"
    return f"{words}; last health check {_moment(link.last_contact, status.at)}"


def _transitions(status: Status) -> Iterator[str]:
    today = _local(status.at).date()
    for step in status.transitions:
        at = _local(step.at)
        when = f"{at:%H:%M:%S}" if at.date() == today else f"{at:%Y-%m-%d %H:%M:%S}"
        yield bounded(f"{when}  {_told(step)}", _LONGEST)


def _told(step: Transition) -> str:
    words = f"{step.source or '*'} --{step.event}--> {step.target}"
    if step.experiment:
        words += f"  {_quoted(step.experiment)}"
    if step.cause and step.cause != repr(step.experiment):
        words += f"  {_safe(step.cause)}"
    return words


def _moment(at: float | None, now: float) -> str:
    return "-" if at is None else f"{_local(at):%Y-%m-%d %H:%M:%S} ({span(now - at)} ago)"


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at, timezone.utc).astimezone()


def _quoted(name: str) -> str:
    return f"'{_safe(name)}'"


def _safe(text: str, limit: int = 120) -> str:
    return bounded(escape(text), limit)
