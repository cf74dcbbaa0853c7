"""Submits the experiment to an OpenFL 1.6 director and follows it: the data scientist's side of the demo.

Run by OpenFL's interpreter, in a fresh directory that holds the experiment's module and nothing else (OpenFL packs all
of it into the archive). Prints one JSON line for each thing that happens; the last one holds the outcome.
"""

# ruff: noqa: INP001 - a file that is copied, never a module of this package
# mypy: disable-error-code="import-not-found,import-untyped,no-any-return,untyped-decorator,unused-ignore"

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

OVER = {"finished", "failed", "rejected"}


def say(**facts: Any) -> None:
    """Print one line for the program that started this one."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def connect(args: argparse.Namespace) -> Any:
    """Open the front end's connection to the director."""
    from openfl.interface.interactive_api.federation import Federation  # noqa: PLC0415 - takes a second

    where = {"director_node_fqdn": args.host, "director_port": args.port}
    if args.disable_tls:
        return Federation(tls=False, **where)
    return Federation(
        client_id="scientist",
        tls=True,
        cert_chain=args.root_certificate,
        api_cert=args.certificate,
        api_private_key=args.private_key,
        **where,
    )


def wait_for_nodes(federation: Any, wanted: set[str], until: float) -> None:
    """Wait until every node wanted is online.

    The director answers with an error as long as one of its nodes has not asked for an experiment yet; the client
    then gives an empty answer or raises, and asking again is right.
    """
    online: set[str] = set()
    while time.monotonic() < until:
        try:
            registry = federation.get_shard_registry()
        except Exception:  # noqa: BLE001 - OpenFL's client lets gRPC's error through; the next try tells
            registry = {}
        online = {name for name, node in registry.items() if node["is_online"]}
        if wanted <= online:
            say(event="online", nodes=sorted(online))
            return
        time.sleep(0.2)
    raise SystemExit(f"not all of {sorted(wanted)} came online; online are {sorted(online)}")


def tasks() -> Any:
    """Wrap the two functions of the experiment's module in OpenFL's contracts."""
    import plane_experiment as experiment  # noqa: PLC0415 - the path is known only by now
    from openfl.interface.interactive_api.experiment import TaskInterface  # noqa: PLC0415

    keeper = TaskInterface()

    @keeper.register_fl_task(model="model", data_loader="data", device="device", optimizer="optimizer")  # type: ignore[untyped-decorator]
    def train(model: Any, data: Any, device: str, optimizer: Any) -> dict[str, float]:  # noqa: ARG001
        return experiment.train(model, data)

    @keeper.register_fl_task(model="model", data_loader="data", device="device")  # type: ignore[untyped-decorator]
    def validate(model: Any, data: Any, device: str) -> dict[str, float]:  # noqa: ARG001
        return experiment.validate(model, data)

    return keeper


def submit(federation: Any, args: argparse.Namespace) -> Any:
    """Pack the experiment and hand it to the director."""
    import plane_experiment as experiment  # noqa: PLC0415
    from openfl.interface.interactive_api.experiment import FLExperiment, ModelInterface  # noqa: PLC0415

    run = FLExperiment(federation=federation, experiment_name=args.name)
    model = ModelInterface(
        model=experiment.initial_model(), optimizer=None, framework_plugin="plane_experiment.Adapter"
    )
    run.start(
        model_provider=model,
        task_keeper=tasks(),
        data_loader=experiment.Loader(),
        rounds_to_train=args.rounds,
        opt_treatment="RESET",
        override_config={"network.settings.agg_port": args.aggregator_port},
    )
    say(event="submitted", experiment=args.name)
    return run


def follow(run: Any, until: float) -> str:
    """Tell each change of the director's status until the experiment is over; give the last one."""
    status = ""
    while time.monotonic() < until and status not in OVER:
        now = run.get_experiment_status()
        if now != status:
            status = now
            say(event="status", status=status)
        time.sleep(0.2)
    return status


def outcome(federation: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Fetch what the director keeps of a finished experiment: the last weights and every metric."""
    weights = federation.dir_client.get_last_model(args.name)
    metrics = [dict(metric) for metric in federation.dir_client.stream_metrics(args.name)]
    return {"weights": {name: value.ravel().tolist() for name, value in weights.items()}, "metrics": metrics}


def main() -> int:
    """Submit, follow, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--aggregator-port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--nodes", nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--disable-tls", action="store_true")
    parser.add_argument("-rc", "--root-certificate")
    parser.add_argument("-pk", "--private-key")
    parser.add_argument("-oc", "--certificate")
    parser.add_argument("--timeout", type=float, default=120.0)
    args = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))
    logging.captureWarnings(capture=True)

    until = time.monotonic() + args.timeout
    federation = connect(args)
    wait_for_nodes(federation, set(args.nodes), until)
    run = submit(federation, args)
    status = follow(run, until)
    result = outcome(federation, args) if status == "finished" else {}
    say(event="outcome", status=status, **result)
    return 0 if status == "finished" else 1


if __name__ == "__main__":
    raise SystemExit(main())
