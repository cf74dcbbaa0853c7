"""A user's own start script, with a review callback: the same for OpenFL's envoy and for ours but for the import.

Run as a program by the interpreter of either, in the node's directory. Prints what the callback was given.
"""

# mypy: disable-error-code="import-not-found,import-untyped,no-any-unimported,unused-ignore"

from __future__ import annotations

import importlib.util  # noqa: F401 - OpenFL's own modules need it to be loaded
import json
import os
import sys
from pathlib import Path
from typing import Any

START = os.getcwd()  # noqa: PTH109 - compared as text with what it is in the callback


def review(name: str, path: str) -> bool:
    """Say what was asked, and answer as told."""
    where = "the node's" if os.getcwd() == START else "the experiment's"  # noqa: PTH109
    kind = "an absolute path" if Path(path).is_absolute() else "a relative path"
    there = "is there" if Path(path).is_file() else "is not there"
    told = f"{name}: {kind}, the file {there}, working directory {where}"
    print(json.dumps({"review": told}), flush=True)
    if ANSWER == "raise":
        raise RuntimeError("the reviewer is on holiday")
    return ANSWER == "yes"


KIND, PORT, ANSWER, INSTALL, PYTHON = sys.argv[1:]
settings: dict[str, Any] = {}
if KIND == "original":
    from openfl.component.envoy.envoy import Envoy
else:
    from fedenvoy import Envoy
    from fedenvoy.config import AgentSettings

    settings["agent"] = AgentSettings(python=Path(PYTHON), kill_grace=1)

sys.path.insert(0, START)
from plane_shard import PlaneShard  # noqa: E402 - the user's own module, in the node's directory

Envoy(
    shard_name="one",
    director_host="127.0.0.1",
    director_port=int(PORT),
    shard_descriptor=PlaneShard(seed=1, samples=20),
    tls=False,
    install_requirements=INSTALL == "True",
    review_plan_callback=review,
    **settings,
).start()
