"""The engine `openfl`: the collaborator of OpenFL 1.6, from OpenFL itself, in the experiment's environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedenvoy.ports import Aggregator, EngineNeeds

__all__ = ["OpenflEngine"]

_SECTIONS = ("aggregator", "collaborator", "task_runner")
_NEEDED = ("aggregator", "network", "task_runner")


class OpenflEngine:
    """Runs what OpenFL's own Envoy would run: `Plan.parse(...).get_collaborator(...).run()`."""

    name = "openfl"

    def claims(self, plan: Mapping[str, Any]) -> bool:
        """Whether the plan has the sections of an OpenFL plan."""
        return all(name in plan for name in _SECTIONS)

    def check(self, plan: Mapping[str, Any], workspace: Path) -> None:
        """Raise ValueError where OpenFL could not read the plan, or a file it names is missing."""
        for name, section in plan.items():
            if not isinstance(section, Mapping):
                raise ValueError(f"the plan's section {name!r} must be a mapping: OpenFL cannot read it otherwise")  # noqa: TRY004 - the port's
        for name in _NEEDED:
            if name not in plan:
                raise ValueError(f"the plan has no section {name!r}, which OpenFL needs")
        if not isinstance(plan["task_runner"].get("template"), str):
            raise ValueError("the plan's task_runner.template must name a class")  # noqa: TRY004 - the port's
        settings = plan.get("api_layer", {}).get("settings") or {}
        if not isinstance(settings, Mapping):
            raise ValueError("the plan's api_layer.settings must be a mapping")  # noqa: TRY004 - the port's
        for key, value in settings.items():
            if str(key).endswith("_interface_file") and not (workspace / str(value)).is_file():
                raise ValueError(f"the plan names {value!r} (api_layer.settings.{key}), which is not in the archive")

    def needs(self, plan: Mapping[str, Any]) -> EngineNeeds:  # noqa: ARG002 - the same for every plan
        """Give OpenFL and the bounds it leaves out: it breaks with numpy 2 and pandas 3, but does not say so."""
        return EngineNeeds(packages=("openfl==1.6", "numpy<2", "pandas<3"))

    def aggregator(self, plan: Mapping[str, Any]) -> Aggregator | None:
        """Say where the collaborator will call."""
        from fedenvoy.engines.openfl_plan import find_aggregator  # noqa: PLC0415 - only a confined experiment asks

        return find_aggregator(plan)

    def program(self) -> Path:
        """Give the script that runs the collaborator."""
        return Path(__file__).parent / "child" / "openfl.py"
