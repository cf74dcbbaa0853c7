"""Runs one of our own children: its specification, its bootstrap in the interpreter it wants, and what came of it.

Knows the files of a run and what such a child needs to see; not what it does, nor how it is started (`launch.py`).
"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from fedenvoy.cancel import Cancel
from fedenvoy.engines.ending import Ending
from fedenvoy.engines.interpreters import places_named, places_of
from fedenvoy.engines.launch import BOX, LOGS, ConfinementError, Launch, StartError, create, launch, new_token
from fedenvoy.engines.reading import read_regular
from fedenvoy.ports import Confinement

__all__ = ["BOOTSTRAP", "ConfinementError", "Ending", "StartError", "supervise"]

BOOTSTRAP = Path(__file__).parent / "child" / "bootstrap.py"
EXACT = ("shard", "plan")
"""What of a specification goes as a pickle: JSON would turn the numbers among a mapping's keys into texts."""
MAX_RESULT = 4 * 2**20
"""The largest result file that is read; user code could write anything there."""
LATER_LOGS = LOGS[1:]
"""What follows child.log, in this order, when the child printed much (see `engines/child/guard.py`)."""


def supervise(
    spec: Mapping[str, Any],
    run_dir: Path,
    python: Path,
    *,
    env: Mapping[str, str],
    grace: float,
    cancel: Cancel,
    timeout: float | None = None,
    meanwhile: Callable[[], object] = lambda: None,
    confinement: Confinement | None = None,
    limits: Mapping[str, int] | None = None,
    groups: Sequence[str] = (),
) -> Ending:
    """Run a child from its start to its end, in this thread: the child is killed should this thread end.

    Args:
        spec: What the child is told; `token` and `result` are added here. It can read all of this.
        run_dir: An existing directory; gets spec.json, child.log (with LATER_LOGS behind it) and
            result.json, which lies in `child` when the child is confined.
        python: The interpreter to run it in.
        env: Its environment variables, all of them.
        grace: Seconds between asking it to end and killing it.
        cancel: Ends it.
        timeout: Seconds after which it is ended; None: none.
        meanwhile: Called once the child runs: something short that this thread may do before it watches.
        confinement: What it may see, besides what it needs to run at all; None: all that this process may.
        limits: As in `ports.RunSpec`.
        groups: As in `ports.RunSpec`.

    Raises:
        Cancelled: When `cancel` was cancelled; everything of the child is gone by then.
        ConfinementError: With the reason, where it cannot be confined so; nothing of it has run.
        StartError: With the reason, when there was no process.

    """
    cancel.raise_if_cancelled()
    token, walls = new_token(), confinement or Confinement()
    place = run_dir if walls.level == "process" else run_dir / BOX
    place.mkdir(mode=0o700, exist_ok=True)
    result, told = place / "result.json", run_dir / "spec.json"
    result.unlink(missing_ok=True)
    _write(told, {**spec, "token": token, "result": str(result)})
    if walls.level != "process":
        walls = _with_what_it_needs(walls, spec, told, python, env)
    what = Launch(
        argv=(str(python), "-u", str(BOOTSTRAP), str(told)),
        cwd=Path(spec["home"]),
        env=env,
        confinement=walls,
        limits=limits or {},
        groups=tuple(groups),
        says_it_began=True,
    )
    ending = launch(what, run_dir, grace=grace, cancel=cancel, timeout=timeout, meanwhile=meanwhile, token=token)
    written = _read_result(result)
    return evolve(ending, result=written, began=ending.began or written is not None)


def _with_what_it_needs(
    walls: Confinement, spec: Mapping[str, Any], told: Path, python: Path, env: Mapping[str, str]
) -> Confinement:
    """Let it see its interpreter, our scripts, and the files of its run."""
    files = [told, *(Path(spec["shard"][name]) for name in ("pickle",) if name in spec["shard"])]
    programs = [BOOTSTRAP.parent, *(Path(spec[name]).parent for name in ("program",) if spec.get(name))]
    write = [Path(spec[name]) for name in ("workspace", "relay") if spec.get(name)]
    return evolve(
        walls,
        read=(*walls.read, *places_of(python), *places_named(env), *programs, *files),
        write=(*walls.write, *write),
        own=(*walls.own, *write, *files),
    )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    exact = pickle.dumps({name: content[name] for name in EXACT if name in content}, protocol=4)
    plain = {name: value for name, value in content.items() if name not in EXACT}
    with create(path) as out:
        out.write(json.dumps({**plain, "exact": base64.b64encode(exact).decode("ascii")}).encode("ascii"))


def _read_result(path: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads(read_regular(path, MAX_RESULT) or b"")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
