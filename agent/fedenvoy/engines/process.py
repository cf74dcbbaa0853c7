"""Runs one experiment in a process of its own and says how it ended."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from attrs import evolve, field, frozen

from fedenvoy.engines.supervise import Ending, StartError, supervise

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel
    from fedenvoy.ports import RunSpec

__all__ = ["CODES", "ChildResult", "child_environment", "run_child", "visible_devices"]

# What belongs to the agent's own interpreter, or to its service manager, and would mislead another process.
_DROPPED = frozenset(
    {"PYTHONHOME", "PYTHONSAFEPATH", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    | {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
)
CODES = frozenset({"exit N", "signal N", "exception", "start", "shard", "environment", "timeout", "aggregator"})
"""All codes of a result; see docs/errors.md."""
_SAID = ("aggregator", "environment")
"""The codes that an engine's program may give (see `engines/child/bootstrap.py`)."""


@frozen
class ChildResult:
    """How an experiment ended."""

    ok: bool
    metrics: Mapping[str, float] = field(factory=dict)
    """The numbers it returned, by name."""
    error: str = ""
    """One sentence for people; empty when `ok`."""
    code: str = ""
    """A short key, empty when `ok`: `exit 3`, `signal 9`, `exception`; `shard` and `start` for what the site has to
    mend, `environment` where the engine says so; `timeout`; `aggregator` when nobody drives the run any more."""
    detail: str = ""
    """The traceback, or the last lines printed where there is none; stays here unless the site allows more."""
    tail: str = ""
    """The last lines printed."""


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
    }
    try:
        ending = supervise(content, spec.run_dir, python, env=env, grace=grace, cancel=cancel, timeout=timeout)
    except StartError as error:
        return ChildResult(ok=False, error=str(error), code="start")
    result = _judge(ending, python)
    if ending.timed_out and not result.ok:
        words = f"it was ended after the {timeout:g} seconds that an experiment may run here (agent.max_run_time)"
        return evolve(result, error=words, code="timeout")
    return result


def child_environment(
    base: Mapping[str, str], devices: Sequence[int | str] = (), *, hide: bool = False
) -> dict[str, str]:
    """Give the environment variables of an experiment.

    Args:
        base: The agent's own.
        devices: The GPUs configured; the experiment sees these only, in this order. Empty: whatever it sees anyway.
        hide: With no `devices`: whether it sees none at all.

    """
    env = {name: value for name, value in base.items() if name not in _DROPPED}
    env["PYTHONUNBUFFERED"] = "1"
    if devices:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, devices))
        env.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the numbers are the driver's, as the monitor reads them
    elif hide:
        env["CUDA_VISIBLE_DEVICES"] = ""
    return env


def visible_devices(devices: Sequence[int | str]) -> tuple[int | str, ...]:
    """Give the numbers by which an experiment addresses the GPUs configured: from 0, of the type configured."""
    return tuple(type(device)(position) for position, device in enumerate(devices))


def _judge(ending: Ending, python: Path) -> ChildResult:
    result, tail = ending.result or {}, ending.tail
    if result.get("ok") is True and ending.status == "exit 0":
        return ChildResult(ok=True, metrics=_metrics(result.get("metrics")), tail=tail)
    if result.get("ok") is not False:  # it was ended before it could say how it went, or in its last moment
        words, code = _sentence(ending.status), ending.status
        if not ending.began:
            words, code = f"the interpreter {python} ended before the experiment could begin: {words}", "start"
        elif result.get("stage") == "shard":
            words, code = _of_shard(words), "shard"
        return ChildResult(ok=False, error=words, code=code, detail=tail, tail=tail)
    words, code = str(result.get("error", "")), "exception"
    if "exit" in result:
        code = f"exit {result['exit']}"
        words = f"{_sentence(code)}: {words}" if words else _sentence(code)
    if result.get("stage") == "shard":
        words, code = _of_shard(words), "shard"
    elif result.get("code") in _SAID:
        code = str(result["code"])
    detail = str(result.get("traceback", "")) or tail
    return ChildResult(ok=False, error=words, code=code, detail=detail, tail=tail)


def _of_shard(words: str) -> str:
    return f"the shard descriptor could not be constructed: {words}"


def _sentence(status: str) -> str:
    """Give the words for `exit N` or `signal N`."""
    kind, _, number = status.partition(" ")
    if kind == "exit":
        return "exited with 0 before it was finished" if number == "0" else f"exited with {number}"
    if number == str(int(signal.SIGKILL)):
        return f"killed by signal {number} (out of memory?)"
    try:
        return f"killed by signal {number} ({signal.Signals(int(number)).name})"
    except ValueError:
        return f"killed by signal {number}"


def _metrics(found: Any) -> dict[str, float]:
    """Give what is a number in a child's result; the file is user code's to write."""
    if not isinstance(found, dict):
        return {}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and not math.isinf(value)
    }


def _plan(path: Path | None) -> Any:
    """Read the plan that intake has judged."""
    return None if path is None else yaml.safe_load(path.read_text(encoding="utf-8-sig"))
