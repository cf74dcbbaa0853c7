"""An engine of a site's own: the plan names one script of the experiment, and its `RESULT` is what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedenvoy.ports import EngineNeeds


class ScriptEngine:
    """Offer it in your package's setup.cfg, in the entry-point group `fedenvoy.engines`.

    The plan says::

        engine: script
        script:
          file: train.py
          packages: [scikit-learn==1.5.2]
    """

    name = "script"

    def claims(self, plan: Mapping[str, Any]) -> bool:
        """Whether the plan has a `script` section, although it names no engine."""
        return isinstance(plan.get("script"), Mapping)

    def check(self, plan: Mapping[str, Any], workspace: Path) -> None:
        """Raise ValueError, in one sentence, where the plan cannot be run."""
        section = plan.get("script")
        section = section if isinstance(section, Mapping) else {}
        file, packages = section.get("file"), section.get("packages", [])
        if not isinstance(file, str) or not file.endswith(".py") or "\0" in file:
            raise ValueError(f"script.file must be the path of a Python file, not {file!r}")
        if not (workspace / file).resolve().is_relative_to(workspace.resolve()):
            raise ValueError(f"script.file must lie in the experiment's archive, unlike {file!r}")
        if not (workspace / file).is_file():
            raise ValueError(f"the experiment's archive has no file {file!r}")
        if not isinstance(packages, list) or not all(isinstance(one, str) for one in packages):
            raise ValueError("script.packages must be a list of requirement lines")

    def needs(self, plan: Mapping[str, Any]) -> EngineNeeds:
        """Give the packages that the plan asks for; called for plans that `check` has passed."""
        return EngineNeeds(packages=tuple(plan["script"].get("packages", ())))

    def program(self) -> Path:
        """Give the script that runs in the experiment's process."""
        return Path(__file__).with_name("script_program.py")
