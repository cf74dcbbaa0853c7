"""Runs one experiment in a process of its own and says how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fedenvoy.engines.supervise import StartError, supervise
from fedenvoy.engines.variables import child_environment
from fedenvoy.engines.verdict import CODES, ChildResult, judge

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel
    from fedenvoy.ports import RunSpec

__all__ = ["CODES", "ChildResult", "child_environment", "run_child", "visible_devices"]


def run_child(
    spec: RunSpec,
    program: Path,
    python: Path,
    *,
    env: Mapping[str, str],
    grace: float,
    cancel: Cancel,
    timeout: float | None = None,
) -> ChildResult:
    """Run an experiment to its end; to be called in a thread that lives as long (the child is tied to it).

    Args:
        spec: What the child gets; `spec.run_dir` must exist, and gets spec.json, child.log and result.json.
        program: The engine's script; its `run(shard_descriptor, spec)` is called in the child.
        python: The interpreter to run in.
        env: The child's environment variables, all of them (see `child_environment`).
        grace: Seconds between asking the child to end and killing it.
        cancel: Ends the child.
        timeout: Seconds it may take; None: as long as it wants.

    Raises:
        Cancelled: When `cancel` was cancelled; the child and all its descendants are gone by then.

    """
    content = {
        "mode": "run",
        "home": str(spec.home),
        "workspace": str(spec.workspace),
        "program": str(program),
        "shard": dict(spec.shard),
        "shard_name": spec.shard_name,
        "devices": list(spec.devices),
        "plan_path": None if spec.plan_path is None else str(spec.plan_path),
        "plan": _plan(spec.plan_path),
        "tls": None if spec.tls is None else dict(spec.tls),
        "aggregator_timeout": spec.aggregator_timeout,
        "relay": spec.relay,
        "aggregator": spec.aggregator,
    }
    try:
        ending = supervise(
            content,
            spec.run_dir,
            python,
            env=env,
            grace=grace,
            cancel=cancel,
            timeout=timeout,
            confinement=spec.confinement,
            limits=spec.limits,
            groups=spec.groups,
        )
    except StartError as error:
        return ChildResult(ok=False, error=str(error), code="start", summary=str(error))
    return judge(ending, python, spec.limits, timeout=timeout)


def visible_devices(devices: Sequence[int | str]) -> tuple[int | str, ...]:
    """Give the numbers by which an experiment addresses the GPUs configured: from 0, of the type configured."""
    return tuple(type(device)(position) for position, device in enumerate(devices))


def _plan(path: Path | None) -> Any:
    """Read the plan that intake has judged."""
    return None if path is None else yaml.safe_load(path.read_text(encoding="utf-8-sig"))
