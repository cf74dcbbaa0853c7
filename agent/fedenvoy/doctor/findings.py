"""What an examination finds, and how it is told: in words, or as JSON for a program."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from fedenvoy.errors import Exit
from fedenvoy.logs import escape

__all__ = ["Finding", "Level", "exit_code", "fault", "good", "note", "rendered", "rendered_json", "warning"]


class Level(enum.IntEnum):
    """How much a finding matters, the worst last."""

    GOOD = 0
    NOTE = 1
    """Cannot be told, or was left out, or is worth knowing."""
    WARNING = 2
    """A node will start; something will go wrong later, or does not work as well as it could."""
    FAULT = 3
    """A node will not work."""


@frozen
class Finding:
    """One thing that was looked at."""

    subject: str
    """What: "name", "TLS", "disk" and so on."""
    level: Level
    text: str
    """One sentence: what is so, and where it is not good, what to do."""
    exit: Exit = Exit.OK
    """What the command ends with where this is the worst; for faults only."""


def good(subject: str, text: str) -> Finding:
    """Make a finding of something that is as it should be."""
    return Finding(subject, Level.GOOD, text)


def note(subject: str, text: str) -> Finding:
    """Make a finding of something that could not be told, or is only worth knowing."""
    return Finding(subject, Level.NOTE, text)


def warning(subject: str, text: str) -> Finding:
    """Make a finding of something that will be trouble."""
    return Finding(subject, Level.WARNING, text)


def fault(subject: str, text: str, code: Exit) -> Finding:
    """Make a finding of something with which a node does not work.

    Args:
        subject: What was looked at.
        text: One sentence.
        code: What a node would end with, or the nearest to it.

    """
    return Finding(subject, Level.FAULT, text, code)


def exit_code(findings: Iterable[Finding]) -> Exit:
    """Give the code of the first fault; 0 where there is none."""
    return next((finding.exit for finding in findings if finding.level is Level.FAULT), Exit.OK)


_MARKS = {Level.GOOD: "ok", Level.NOTE: "-", Level.WARNING: "WARNING", Level.FAULT: "FAULT"}


def rendered(findings: Sequence[Finding]) -> str:
    """Write a line for each finding, and the sum of them."""
    width = max((len(finding.subject) for finding in findings), default=0)
    lines = [f"{_MARKS[one.level]:<8} {one.subject:<{width}}  {escape(one.text)}" for one in findings]
    return "\n".join([*lines, "", _sum(findings)])


def _sum(findings: Sequence[Finding]) -> str:
    faults = sum(finding.level is Level.FAULT for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if not faults and not warnings:
        return "Nothing is wrong."
    counts = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((faults, "fault"), (warnings, "warning")) if n]
    return f"{' and '.join(counts)}: a node {'will not work like this' if faults else 'will start'}."


def rendered_json(findings: Sequence[Finding]) -> str:
    """Write one JSON object: the findings in their order, the worst level and the exit code."""
    content: dict[str, Any] = {
        "findings": [
            {"subject": one.subject, "level": one.level.name.lower(), "text": one.text, "exit": int(one.exit)}
            for one in findings
        ],
        "worst": max((one.level for one in findings), default=Level.GOOD).name.lower(),
        "exit": int(exit_code(findings)),
    }
    return json.dumps(content, indent=2)
