"""What the engine `script` runs in the experiment's process; the working directory is the unpacked archive."""

from __future__ import annotations

import runpy
from typing import Any


def run(shard_descriptor: Any, spec: dict[str, Any]) -> Any:
    """Run the experiment's script with the shard as `SHARD`, and give its `RESULT`: a mapping of numbers."""
    names = runpy.run_path(spec["plan"]["script"]["file"], init_globals={"SHARD": shard_descriptor})
    return names.get("RESULT", {})
