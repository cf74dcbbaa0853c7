"""The process that the agent starts: `python -I -S launcher.py LAUNCH`, in the agent's own interpreter.

It becomes the guard of a program and the program itself, confined as the launch file says. Until the program is run,
nothing of its environment has been: no `.pth` file, no `sitecustomize`, no variable that the interpreter listens to.

Standard library only, and little of that: the time until it becomes the program is lost for every experiment.
"""

from __future__ import annotations

import marshal
import os
import signal
import sys
import types
from functools import partial

TYPE_CHECKING = False  # `typing` takes as long to load as all the rest here
if TYPE_CHECKING:
    from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
BEGAN = 3
"""The file descriptor by which a program that is asked to says that its own first code runs."""


def main() -> NoReturn:
    """Do what the launch file says; never return."""
    with open(sys.argv[1], "rb") as file:
        spec: dict[str, Any] = marshal.load(file)  # noqa: S302 - the agent's own, of the same interpreter
    be_package()
    from fedenvoy.engines.child import guard, limits  # noqa: PLC0415 - found by now

    ties = guard.enter(spec["agent"], spec["log"], spec["limits"], spec["groups"])
    try:
        limits.apply(spec["limits"], spec["groups"])
        begin = partial(run, spec, ties, limits)
        if spec["level"] == "process":
            begin()
        from fedenvoy.engines.child import namespaces  # noqa: PLC0415 - only where it is wanted

        namespaces.enter(spec, ties.tell, ties.go, begin)
    except OSError as error:
        ties.tell(f"fault start {error.filename or error.strerror}: {error.strerror}")
    os._exit(1)


def be_package() -> None:
    """Let the scripts beside this one import each other by their full names, and nothing else of the agent."""
    for name in ("fedenvoy", "fedenvoy.engines", "fedenvoy.engines.child"):
        package = types.ModuleType(name)
        package.__path__ = [HERE] if name.endswith("child") else []
        sys.modules[name] = package


def run(spec: dict[str, Any], ties: Any, limits: Any) -> NoReturn:
    """Become the program.

    Args:
        spec: The launch file's content.
        ties: What leads to the guard.
        limits: The module of this name.

    Raises:
        OSError: It cannot be run.

    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if spec["level"] == "user" and not spec["groups"]:
        limits.apply({"processes": spec["limits"].get("processes", 0)})  # it counts by user, and was root before
    os.chdir(spec["cwd"])
    if spec["began"]:
        os.dup2(ties.began, BEGAN)
    kept = {name: value for name, value in os.environ.items() if name not in spec.get("drop", ())}
    os.execve(spec["argv"][0], spec["argv"], {**kept, **spec["env"]})  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
