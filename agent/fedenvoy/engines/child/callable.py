"""Engine program `callable`: calls one function of the experiment. Runs in the experiment's interpreter."""

from __future__ import annotations

import importlib
from typing import Any


def run(shard_descriptor: Any, spec: dict[str, Any]) -> Any:
    """Call the plan's function with (shard_descriptor, devices, plan) and give what it returns."""
    plan = spec["plan"]
    module, _, name = plan["callable"]["entry"].partition(":")
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    return function(shard_descriptor, tuple(spec["devices"]), plan)
