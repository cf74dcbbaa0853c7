"""Makes an experiment's environment, and finds it again: run by fedenvoy's interpreter, prints seconds as JSON.

Arguments: a state directory, a directory of wheels, and requirement lines.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from fedenvoy.cancel import Cancel
from fedenvoy.config import RequirementsSettings
from fedenvoy.ports import EngineNeeds
from fedenvoy.workspace.environments import Environments

state, wheels, *lines = sys.argv[1:]
begun = time.monotonic()
environments = Environments(
    Path(state), RequirementsSettings(mode="offline", wheels=Path(wheels)), None, environ={"HOME": state, "PATH": ""}
)
python = environments.build("\n".join(lines), None, EngineNeeds(), Path(state), inherit=False, cancel=Cancel())
print(json.dumps({"seconds": time.monotonic() - begun, "python": str(python)}))
