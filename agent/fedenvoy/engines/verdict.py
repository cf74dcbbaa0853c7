"""How an experiment's process ended, as one sentence, a code, and the words that may leave the site.

An exception's own text can quote what it stumbled over: a patient's row, a path. So there are two sentences: `error`
has everything, for the node's own log and journal; `summary` has only what this node says itself, the kind of the
exception, and the place in the archive's own source.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from fedenvoy.engines.ending import Ending
from fedenvoy.engines.memory import available, of, size

__all__ = ["CODES", "ChildResult", "judge"]

CODES = frozenset(
    {"exit N", "signal N", "exception", "limit", "start", "shard", "environment", "timeout", "disk", "aggregator"}
)
"""All codes of a result; see docs/errors.md."""
_SAID = ("aggregator", "environment")
"""The codes that an engine's program may give (see `engines/child/bootstrap.py`)."""
_MOST_METRICS = 100
_LONGEST = 1000
_NEARLY = 0.8
"""The share of the memory there is from which a kill that nobody explains is put down to it."""


@frozen
class ChildResult:
    """How an experiment ended."""

    ok: bool
    metrics: Mapping[str, float] = field(factory=dict)
    """The numbers it returned, by name; the first hundred."""
    error: str = ""
    """One sentence for people of this site; empty when `ok`."""
    code: str = ""
    """A short key, empty when `ok`: `exit 3`, `signal 9`, `exception`, `limit`; `shard`, `start` and `disk` for what
    the site has to mend, `environment` where the engine says so; `timeout`; `aggregator` when nobody drives the run."""
    summary: str = ""
    """The sentence without anything that the experiment or a descriptor said; empty when `ok`."""
    detail: str = ""
    """The traceback, or the last lines printed where there is none; stays here unless the site allows more."""
    tail: str = ""
    """The last lines printed."""


def judge(
    ending: Ending, python: Path, limits: Mapping[str, int] | None = None, *, timeout: float | None = None
) -> ChildResult:
    """Say how a child ended.

    Args:
        ending: What is known of it.
        python: Its interpreter.
        limits: What it was held to.
        timeout: Seconds that it could run; None: as long as it wanted.

    """
    limits = limits or {}
    result = ending.result or {}
    if result.get("ok") is True and ending.status == "exit 0":
        return ChildResult(ok=True, metrics=_metrics(result.get("metrics")), tail=ending.tail)
    if ending.timed_out:
        words = f"it was ended after the {timeout:g} seconds that an experiment may run here (agent.max_run_time)"
        judged = ChildResult(ok=False, error=words, code="timeout", summary=words)
    elif ending.limit:
        judged = _passed(ending, limits)
    elif result.get("ok") is False:
        judged = _said(ending, result, limits)
    else:  # it was ended before it could say how it went, or in its last moment
        too_large = ending.status == f"signal {int(signal.SIGXFSZ)}" and limits.get("workspace")
        words = _sentence(ending, limits)
        words += f": {_allowed('workspace', limits)}, and one was larger" if too_large else ""
        judged = ChildResult(ok=False, error=words, code="limit" if too_large else ending.status, summary=words)
    if not ending.began and judged.code != "timeout":
        words = f"the interpreter {python} ended before the experiment could begin: {judged.error}"
        judged = evolve(judged, error=words, summary=words, code="start")
    elif result.get("stage") == "shard" and judged.code not in {"timeout", "disk"}:
        before = "the shard descriptor could not be constructed: "
        judged = evolve(judged, error=before + judged.error, summary=before + judged.summary, code="shard")
    traceback = result.get("traceback")
    return evolve(
        judged, detail=traceback if isinstance(traceback, str) and traceback else ending.tail, tail=ending.tail
    )


def _said(ending: Ending, result: Mapping[str, Any], limits: Mapping[str, int]) -> ChildResult:
    """Judge what user code raised, as the child's first code wrote it down."""
    error = _text(result.get("error"))
    if isinstance(result.get("exit"), int):
        code = f"exit {result['exit'] & 0xFF}"
        words = _sentence(evolve(ending, status=code), limits)
        return ChildResult(ok=False, error=f"{words}: {error}" if error else words, code=code, summary=words)
    if result.get("code") in _SAID and result.get("stage") != "shard":
        return ChildResult(ok=False, error=error, code=str(result["code"]), summary=error)
    kind, place = _text(result.get("kind")) or "an exception", _text(result.get("where"))
    summary = f"{kind} at {place} (its text stays at the site)" if place else f"{kind} (its text stays at the site)"
    cause = result.get("cause")
    if cause == "disk":
        return ChildResult(ok=False, error=error, code="disk", summary=f"{summary}; the disk is full")
    if isinstance(cause, str) and limits.get(cause):
        words = f"; {_allowed(cause, limits)}{_peak(ending, limits) if cause == 'memory' else ''}"
        if cause == "processes" and limits.get("memory"):
            words += f", and {_allowed('memory', limits)}, of which the stack of each thread takes some"
        return ChildResult(ok=False, error=error + words, code="limit", summary=summary + words)
    if cause == "memory":
        words = _peak(ending, limits)
        return ChildResult(ok=False, error=error + words, code="exception", summary=summary + words)
    return ChildResult(ok=False, error=error, code="exception", summary=summary)


def _passed(ending: Ending, limits: Mapping[str, int]) -> ChildResult:
    """Judge what was ended for a limit."""
    if ending.limit == "disk":
        words = "it was ended: the disk that its files are on is nearly full, and the node needs the rest"
        return ChildResult(ok=False, error=words, code="disk", summary=words)
    words = f"it was ended: {_allowed(ending.limit, limits)}, and it took more"
    if ending.limit == "memory":
        words += _peak(ending, limits)
    return ChildResult(ok=False, error=words, code="limit", summary=words)


def _allowed(what: str, limits: Mapping[str, int]) -> str:
    most = limits.get(what, 0)
    amount = {
        "memory": f"{size(most)} of memory",
        "workspace": f"{size(most)} of files",
        "processes": f"{most} processes and threads",
        "open_files": f"{most} open files",
    }[what]
    return f"an experiment may have {amount} here (agent.child.{what})"


def _peak(ending: Ending, limits: Mapping[str, int]) -> str:
    """Say how much memory was used at most; empty where nothing is known of it."""
    whole = limits.get("memory") or available()
    return f"; peak {of(ending.peak, whole)}" if ending.peak and whole else ""


def _sentence(ending: Ending, limits: Mapping[str, int]) -> str:
    """Give the words for `exit N` or `signal N`."""
    kind, _, number = ending.status.partition(" ")
    if kind == "exit":
        return "exited with 0 before it was finished" if number == "0" else f"exited with {number}"
    if number == str(int(signal.SIGKILL)):
        peak = _peak(ending, limits).removeprefix(";")
        whole = limits.get("memory") or available()
        if ending.starved or (whole and ending.peak > _NEARLY * whole):
            return f"killed by signal {number}, probably out of memory:{peak}" if peak else "killed: out of memory"
        return f"killed by signal {number} (out of memory?{peak})"
    try:
        name = signal.Signals(int(number)).name
    except ValueError:
        return f"killed by signal {number}"
    return f"killed by signal {number} ({name})"


def _text(found: Any) -> str:
    return found[:_LONGEST] if isinstance(found, str) else ""


def _metrics(found: Any) -> dict[str, float]:
    """Give what is a number in a child's result; the file is user code's to write."""
    if not isinstance(found, dict):
        return {}
    kept: dict[str, float] = {}
    for name, value in found.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and len(kept) < _MOST_METRICS:
            try:
                number = float(value)
            except OverflowError:
                continue
            if not math.isinf(number):
                kept[name[:_LONGEST]] = number
    return kept
