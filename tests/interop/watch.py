"""Looks on as a data scientist does: the registry of a federation and the status of an experiment, through OpenFL.

Run by OpenFL's interpreter, from before the first node starts until it is ended. Prints one JSON line for each change.
"""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import argparse
import json
import time
from typing import Any

PERIOD = 0.03


def status_of(federation: Any, name: str) -> str:
    """Give the experiment's status; the director raises as long as it does not know the experiment."""
    try:
        return str(federation.dir_client.get_experiment_status(name).experiment_status)
    except Exception:
        return ""


def picture_of(federation: Any, name: str) -> dict[str, Any]:
    """Give what the user sees at this moment."""
    try:
        registry = federation.get_shard_registry()
    except Exception as error:
        return {"registry": f"{type(error).__name__}", "status": status_of(federation, name)}
    nodes = {node: [told["is_online"], told["is_experiment_running"]] for node, told in sorted(registry.items())}
    return {"registry": nodes, "status": status_of(federation, name)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--experiment", required=True)
    args = parser.parse_args()
    from openfl.interface.interactive_api.federation import Federation

    federation = Federation(director_node_fqdn=args.host, director_port=args.port, tls=False)
    last: dict[str, Any] = {}
    while True:
        now = picture_of(federation, args.experiment)
        if now != last:
            print(json.dumps({"at": round(time.time(), 2), **now}), flush=True)
            last = now
        time.sleep(PERIOD)


if __name__ == "__main__":
    main()
