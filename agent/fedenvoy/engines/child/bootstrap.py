"""The first code of every child: `python -u bootstrap.py SPEC`, in the interpreter of the experiment.

It reads the specification, constructs the shard descriptor where the site's files are, and only then goes to where the
experiment's files are and runs the engine's program there. What came of it stands in the result file, written whole or
not at all. Whatever confines it was done before (see `launcher.py`).

Standard library only; Python 3.8 and later. Nothing of the agent is imported: it need not be installed here.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import importlib
import importlib.util
import json
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
LONGEST_ERROR = 1000
MOST_NUMBERS = 100
LONGEST_NAME = 100
LONGEST_TRACEBACK = 64 * 1024
BEGAN = 3
"""The file descriptor that takes a byte at the begin (see `launcher.py`)."""
CODES = frozenset({"aggregator", "environment"})
"""What an engine's program may say by an exception's `fedenvoy_code`: the experiment itself is not to blame."""
CAUSES = {
    errno.ENOMEM: "memory",
    errno.EMFILE: "open_files",
    errno.EFBIG: "workspace",
    errno.ENOSPC: "disk",
    errno.EDQUOT: "disk",
}
"""The errors by which the system says that something has come to its end."""
ENDS = {"can't allocate memory": "memory", "can't start new thread": "processes"}
"""How torch and Python's threads say it."""


def main() -> NoReturn:
    """Do what the specification says; never return."""
    spec = read(Path(sys.argv[1]))
    say_begun()
    pid = os.getpid()
    try:
        result, code = attempt(spec)
        if os.getpid() == pid:  # user code may have forked and come back in both processes
            write(Path(spec["result"]), result)
    except BaseException as error:  # noqa: BLE001 - the result could not be written: all that is left is the log
        report(error)
        code = 1
    flush()
    os._exit(code)  # threads that user code left behind must not hold the process


def say_begun() -> None:
    """Tell the guard that this interpreter works, before anything of the experiment's own can."""
    with contextlib.suppress(OSError):
        os.write(BEGAN, b"b")
        os.close(BEGAN)


def read(path: Path) -> dict[str, Any]:
    """Read the specification; some of it is a pickle of plain values, for JSON would change them."""
    spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    spec.update(pickle.loads(base64.b64decode(spec.pop("exact"))))  # noqa: S301 - this node's own
    return spec


def attempt(spec: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Give the result and the exit code; whatever user code raises is a result."""
    stage = "shard"
    write(Path(spec["result"]), {"stage": stage})  # all that is known when user code takes the process with it
    try:
        enter_home(spec["home"])
        descriptor = construct(spec["shard"])
        if spec["mode"] == "describe":
            return {"ok": True, "shard": describe(descriptor)}, 0
        stage = "experiment"
        write(Path(spec["result"]), {"stage": stage})
        enter_workspace(spec["workspace"])
        program = load(Path(spec["program"]), "_fedenvoy_engine")
        return {"ok": True, "metrics": numbers(program.run(descriptor, spec))}, 0
    except SystemExit as error:
        return ended(stage, error)
    except BaseException as error:  # noqa: BLE001 - nothing of user code may pass
        if isinstance(error, MemoryError):
            traceback.clear_frames(error.__traceback__)  # what filled the memory is still held there
        result = {"ok": False, "stage": stage, "error": sentence(error), "traceback": report(error)}
        result.update(kind=kind_of(error), cause=cause_of(error))
        if stage == "experiment":
            result.update(where=place_of(error, spec["workspace"]))
        code = getattr(error, "fedenvoy_code", None)
        if stage == "experiment" and isinstance(code, str) and code in CODES:
            result.update(code=code, error=" ".join(str(error).split())[:LONGEST_ERROR])
        return result, 1


def enter_home(home: str) -> None:
    """Go to the site's directory and make it the first place that imports look at, in place of this script's own."""
    os.chdir(home)
    if sys.path and Path(sys.path[0]) == HERE:
        sys.path[0] = home
    else:
        sys.path.insert(0, home)


def enter_workspace(workspace: str) -> None:
    """Go to the experiment's files and make them the last place that imports look at."""
    os.chdir(workspace)
    sys.path.append(workspace)


def construct(shard: dict[str, Any]) -> Any:
    """Make the shard descriptor from its template, or take it out of its file."""
    if "pickle" in shard:
        with Path(shard["pickle"]).open("rb") as file:  # written by this node for this process
            sys.path.extend(place for place in pickle.load(file) if place not in sys.path)  # noqa: S301
            return pickle.load(file)  # noqa: S301
    module, dot, name = shard["template"].rpartition(".")
    if not dot:
        raise ValueError(f"template must be module.Class, not {shard['template']!r}")
    return getattr(importlib.import_module(module), name)(**(shard.get("params") or {}))


def describe(descriptor: Any) -> dict[str, Any]:
    """Read what the director is told."""
    return {
        "sample_shape": shape(descriptor, "sample_shape"),
        "target_shape": shape(descriptor, "target_shape"),
        "dataset_description": str(getattr(descriptor, "dataset_description", "")),
    }


def shape(descriptor: Any, name: str) -> list[str]:
    """Give a shape as a list of strings."""
    value = getattr(descriptor, name)
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a list of numbers, not {value!r}")
    return [str(part) for part in value]


def numbers(metrics: Any) -> dict[str, float]:
    """Give the first numbers of a returned mapping by name; what is none is left out, with a line in the log."""
    found: dict[str, float] = {}
    items = metrics.items() if hasattr(metrics, "items") else ()
    for name, value in items:
        number = number_of(value)
        if len(found) == MOST_NUMBERS:
            print(f"only the first {MOST_NUMBERS} numbers of the result are kept")  # noqa: T201 - this is the log
            break
        if number is None:
            print(f"the result {name!r} is not a number and is left out")  # noqa: T201 - this is the log
        else:
            found[str(name)[:LONGEST_NAME]] = number
    return found


def number_of(value: Any) -> float | None:
    """Give a value as a number; None where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def load(path: Path, name: str) -> Any:
    """Import a script by its path; its directory does not get onto the import path."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def ended(stage: str, error: SystemExit) -> tuple[dict[str, Any], int]:
    """Give the result for user code that called `sys.exit`; with 0 too, for the work was not done."""
    code = 0 if error.code is None else error.code
    if isinstance(code, int):
        return {"ok": False, "stage": stage, "exit": code & 0xFF, "error": ""}, code & 0xFF
    print(code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return {"ok": False, "stage": stage, "exit": 1, "error": " ".join(str(code).split())[:LONGEST_ERROR]}, 1


def sentence(error: BaseException) -> str:
    """Give an exception's last line."""
    name = kind_of(error)
    try:
        text = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001 - an exception of user code may be unable to show itself
        text = "(its text cannot be read)"
    return (f"{name}: {text}" if text else name)[:LONGEST_ERROR]


def kind_of(error: BaseException) -> str:
    """Give the name of an exception's class."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def place_of(error: BaseException, workspace: str) -> str:
    """Give the line of the experiment's own source that an exception passed last; empty where it passed none."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(workspace + os.sep):
            found = f"{file[len(workspace) + 1 :]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def cause_of(error: BaseException) -> str:
    """Say what had come to its end, where an exception means that: a limit's name, or `disk`."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError):
        return CAUSES.get(error.errno, "") if isinstance(error.errno, int) else ""
    try:
        text = str(error) if isinstance(error, RuntimeError) else ""
    except BaseException:  # noqa: BLE001 - see `sentence`
        return ""
    return next((name for words, name in ENDS.items() if words in text), "")


def report(error: BaseException) -> str:
    """Print the traceback into the log, without the frames of this script, and give its last part."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # noqa: BLE001 - see above
        text = sentence(error)
    flush()
    with contextlib.suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace"))
    return text[-LONGEST_TRACEBACK:]


def write(path: Path, result: dict[str, Any]) -> None:
    """Write the result whole or not at all; only for this user."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(result, file)
    temporary.replace(path)


def flush() -> None:
    """Get what was printed into the log."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


if __name__ == "__main__":
    main()
