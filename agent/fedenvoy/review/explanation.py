"""What `fedenvoy review explain` tells of an archive: what is in it, and what a policy decides about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from attrs import frozen

from fedenvoy.review.case import ReviewCase
from fedenvoy.review.inspection import Inspection
from fedenvoy.review.plans import ABSENT, code_names, value_at
from fedenvoy.review.policy import Judgement, Policy
from fedenvoy.review.rendering import inspection_lines, one_line, size_words

__all__ = ["Explanation", "essentials"]

_TOLD = (
    "aggregator.settings.rounds_to_train",
    "collaborator.settings.opt_treatment",
    "network.settings.agg_addr",
    "network.settings.agg_port",
    "network.settings.tls",
)
_LINES = 300


def essentials(case: ReviewCase) -> dict[str, Any]:
    """Give what matters of a plan: its sections, the code that it names, and a few values."""
    values = {path: value_at(case.plan, path) for path in _TOLD}
    simple = (str, int, float, bool, type(None))
    return {
        "sections": sorted(str(key) for key in case.plan),
        "code": {one.path: one.name if isinstance(one.name, str) else None for one in code_names(case.plan)},
        "values": {path: value for path, value in values.items() if value is not ABSENT and isinstance(value, simple)},
    }


@frozen
class Explanation:
    """What an archive holds, and what is decided about it."""

    case: ReviewCase
    inspection: Inspection
    policy: Policy | None
    judgement: Judgement | None
    notes: tuple[str, ...] = ()
    """What a real run would know besides."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it; docs/review.md describes it."""
        case = self.case
        return {
            "experiment": case.experiment,
            "digest": case.digest,
            "size": case.size,
            "engine": case.engine,
            "plan": essentials(case),
            "requirements": case.requirements.splitlines(),
            "lock_digest": case.lock_digest,
            "inspection": self.inspection.as_dict(),
            "policy": None if self.policy is None else {"source": self.policy.source, "digest": self.policy.digest},
            "judgement": None if self.judgement is None else attrs.asdict(self.judgement),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """Give it for people: every line is safe to print."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        case = self.case
        yield f"Experiment '{one_line(case.experiment)}', {size_words(case.size)}, sha256 {case.digest}"
        yield f"Engine: {one_line(case.engine)}"
        plan = essentials(case)
        yield f"Plan: {', '.join(one_line(name, 60) for name in plan['sections'][:40])}"
        for path, name in list(plan["code"].items())[:_LINES]:
            yield f"  {one_line(path)}: {one_line(name) if name is not None else 'NOT A NAME OF CODE'}"
        yield from (f"  {path}: {one_line(str(value))}" for path, value in plan["values"].items())
        lines = case.requirements.splitlines()
        yield f"Requirements: {len(lines) or 'none'}"
        yield from (f"  {one_line(line)}" for line in lines[:_LINES])
        if len(lines) > _LINES:
            yield f"  and {len(lines) - _LINES} more"
        yield from inspection_lines(self.inspection)
        yield from (f"Note: {note}" for note in self.notes)
        yield from self._judged()

    def _judged(self) -> Iterator[str]:
        if self.policy is None or self.judgement is None:
            yield "Decision: none, for no policy was named (--policy, or agent.review.policy in the configuration)"
            return
        yield f"Policy: {one_line(self.policy.source)}, sha256 {self.policy.digest}"
        for one in self.judgement.passed_over:
            yield f"  the rule {one.rule!r} does not match: {one.why}"
        yield f"Decision: {self.judgement.sentence}"
