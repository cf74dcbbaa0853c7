"""A review callback of a site: known work only, within bounds, and only so many different plans."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

APPROVED_MODULES = ("hospital_tasks.", "hospital_metrics.")
MOST_ROUNDS = 100


class SiteReview:
    """Give it to the agent: `Envoy(..., review_plan_callback=SiteReview(Path("reviewed.txt")))`.

    Args:
        memory: A file with the plans approved so far, one digest a line; it outlives the agent.
        most: How many different plans are approved.

    """

    def __init__(self, memory: Path, *, most: int = 2) -> None:
        self.memory = memory
        self.most = most

    def __call__(self, _name: str, file_path: str) -> bool:
        """Decide about a plan. Whatever the file holds, the answer is a bool."""
        content = Path(file_path).read_bytes()
        try:
            plan = yaml.safe_load(content)
        except (yaml.YAMLError, ValueError, RecursionError):
            return False
        return acceptable(plan) and self._within_quota(hashlib.sha256(content).hexdigest())

    def _within_quota(self, digest: str) -> bool:
        """Whether this plan is one of the first; one that was approved stays approved."""
        approved = self.memory.read_text().split() if self.memory.exists() else []
        if digest in approved:
            return True
        if len(approved) >= self.most:
            return False
        self.memory.write_text("\n".join([*approved, digest]))
        return True


def acceptable(plan: Any) -> bool:
    """Whether a plan calls a function of ours, and not for ever."""
    if not isinstance(plan, dict) or plan.get("engine") != "callable":
        return False
    section = plan.get("callable")
    if not isinstance(section, dict) or not str(section.get("entry")).startswith(APPROVED_MODULES):
        return False
    params = section.get("params", {})
    rounds = params.get("rounds", 1) if isinstance(params, dict) else None
    return isinstance(rounds, int) and 0 < rounds <= MOST_ROUNDS
