"""Engine program `openfl`: the real collaborator of OpenFL 1.6. Runs in the experiment's interpreter."""

from __future__ import annotations

import importlib.util  # noqa: F401 - openfl.federated uses it without importing it
import re
import sys
from pathlib import Path
from typing import Any

CERTIFICATES = ("root_certificate", "private_key", "certificate")
_FOREIGN_CODE = re.compile(r"^code(\(\))? (expected|argument|takes)|unknown opcode|unsupported pickle protocol")


def run(shard_descriptor: Any, spec: dict[str, Any]) -> None:
    """Take part in the federation until it is over; the current directory is the unpacked archive."""
    from openfl.federated import Plan  # noqa: PLC0415 - the descriptor was to be constructed before this
    from openfl.interface.cli import setup_logging  # noqa: PLC0415

    setup_logging()  # the collaborator logs at a level that only this defines
    plan = Plan.parse(plan_config_path=Path("plan/plan.yaml"))
    tls = spec.get("tls")
    certificates = [Path(tls[name]) if tls else None for name in CERTIFICATES]
    try:
        collaborator = plan.get_collaborator(spec["shard_name"], *certificates, shard_descriptor=shard_descriptor)
    except (TypeError, ValueError, SystemError) as error:
        if _FOREIGN_CODE.search(str(error)):
            here = ".".join(map(str, sys.version_info[:2]))
            raise RuntimeError(
                f"the experiment was packed by another Python version than this node's {here}; submit it from the same "
                f"version, or set agent.python to the submitter's"
            ) from error
        raise
    collaborator.set_available_devices(cuda=tuple(spec["devices"]))
    collaborator.run()
