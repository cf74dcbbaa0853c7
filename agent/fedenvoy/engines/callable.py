"""The engine `callable`: a plan names one function of the experiment, and that is all of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedenvoy.ports import EngineNeeds

__all__ = ["CallableEngine"]

_ENTRY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class CallableEngine:
    """Calls `module:function` with (shard_descriptor, devices, plan); a returned mapping of numbers is the result.

    The plan says::

        engine: callable
        callable:
          entry: package.module:function
          params: {any: thing}
    """

    name = "callable"

    def claims(self, plan: Mapping[str, Any]) -> bool:
        """Whether the plan has a `callable` section, although it names no engine."""
        return isinstance(plan.get("callable"), Mapping)

    def check(self, plan: Mapping[str, Any], workspace: Path) -> None:  # noqa: ARG002 - it may live in any package
        """Raise ValueError where the plan names no function."""
        section = plan.get("callable")
        if not isinstance(section, Mapping):
            raise ValueError("the plan has no `callable` section with an `entry`")  # noqa: TRY004 - the port's
        entry = section.get("entry")
        if not isinstance(entry, str) or not _ENTRY.fullmatch(entry):
            raise ValueError(f"the plan's callable.entry must be package.module:function, not {entry!r}")
        if not isinstance(section.get("params", {}), Mapping):
            raise ValueError("the plan's callable.params must be a mapping")  # noqa: TRY004 - the port's

    def needs(self, plan: Mapping[str, Any]) -> EngineNeeds:  # noqa: ARG002 - nothing, whatever the plan
        """Give nothing: what the function needs stands in the experiment's requirements."""
        return EngineNeeds()

    def program(self) -> Path:
        """Give the script that calls the function."""
        return Path(__file__).parent / "child" / "callable.py"
