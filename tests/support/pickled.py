"""Pickles for the tests: such as OpenFL's users send, and such as an attacker would. None may ever be loaded."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

TASKS = '''
import os
import subprocess
from collections import defaultdict


class Keeper:
    """Holds tasks, as OpenFL's front end does."""

    def __init__(self):
        self.tasks = defaultdict(dict)

    def register(self, name):
        def decorator(task):
            self.tasks[name]["task"] = task
            return task
        return decorator


keeper = Keeper()


@keeper.register("train")
def train(model, loader, device, rounds=3):
    """Train for some rounds."""
    scale = 0.5

    def step(batch):
        return model.fit(batch, device, weight=scale)

    losses = [step(batch) for batch in loader]
    return {"loss": sum(losses) / max(1, len(losses)), "where": "a text of the task"}


@keeper.register("validate")
def validate(model, loader, device):
    model.eval()
    return {"accuracy": max(model.score(batch) for batch in loader)}


def steals(path):
    return subprocess.check_output(["cat", os.path.join(path, "key.pem")])
'''


def carried(name: str = "keeper", protocol: int | None = None) -> bytes:
    """Pickle something of `TASKS` by value, with its code, as cloudpickle does for a notebook's cells."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(TASKS, "notebook", "exec"), space)
    return bytes(cloudpickle.dumps(space[name], protocol=protocol))


class Calls:
    """Calls something when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def touches(canary: Path, protocol: int = 4) -> bytes:
    """Pickle a call that makes a file."""
    return pickle.dumps(Calls(os.system, f"touch {canary}"), protocol)


def text(value: str) -> bytes:
    """Push a text, as protocol 4 does."""
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def blob(value: bytes) -> bytes:
    """Push bytes."""
    return b"B" + struct.pack("<I", len(value)) + value


def hostile(canary: Path) -> dict[str, tuple[bytes, str]]:
    """Give hostile pickles by what is special about them, each with a flag that it must get."""
    command = text(f"touch {canary}")
    call = command + b"\x85R."
    start = b"\x80\x04"
    join = start + text("builtins") + text("getattr") + b"\x93(" + text("") + text("join") + b"tR"
    parts = b"](" + text("o") + text("s") + b"e"
    return {
        "a call": (touches(canary), "posix"),
        "protocol 0": (touches(canary, 0), "posix"),
        "another module": (pickle.dumps(Calls(subprocess.getoutput, f"touch {canary}")), "subprocess"),
        "code as text": (pickle.dumps(Calls(eval, f"open({str(canary)!r}, 'w')")), "eval"),
        "Python 2's names": (f"c__builtin__\neval\n(S'open({str(canary)!r}, chr(119))'\ntR.".encode(), "eval"),
        "names out of the memory": (
            start + text("system") + b"\x940" + text("os") + b"\x940h\x01h\x00\x93" + call,
            "os",
        ),
        "names doubled and dropped": (start + text("os") + b"20" + text("system") + b"2" + b"0\x93" + call, "os"),
        "a name put together": (join + parts + b"\x85R" + text("system") + b"\x93" + call, "computed import"),
        "a module through another": (start + text("shutil") + text("os.system") + b"\x93" + call, "os"),
        "an attribute of a module": (
            start
            + text("builtins")
            + text("getattr")
            + b"\x93"
            + text("importlib")
            + text("import_module")
            + b"\x93"
            + text("os")
            + b"\x85R"
            + text("system")
            + b"\x86R"
            + call,
            "os",
        ),
        "what a call gives": (
            start
            + text("operator")
            + text("attrgetter")
            + b"\x93"
            + text("system")
            + b"\x85R"
            + text("importlib")
            + text("import_module")
            + b"\x93"
            + text("os")
            + b"\x85R\x85R"
            + call,
            "computed call",
        ),
        "INST": (f"(S'touch {canary}'\nios\nsystem\n.".encode(), "os"),
        "OBJ": (b"\x80\x02(cos\nsystem\n" + b"U" + bytes([len(command) - 2]) + command[2:] + b"o.", "os"),
        "a number of the registry": (b"\x80\x02\x82\x01)R.", "computed import"),
        "own code": (pickle.dumps(None)[:2] + carried("steals", 4)[2:-1] + command + b"\x85R.", "own code at loading"),
        "an item for something imported": (b"cos\nenviron\nS'PATH'\nS'/'\ns.", "os"),
        "a state for something imported": (b"\x80\x02cos\nenviron\n}U\x04PATHU\x01/sb.", "os"),
    }


def nested(inner: bytes, depth: int) -> bytes:
    """Put a pickle into the bytes of another, and so on."""
    for _ in range(depth):
        inner = b"\x80\x04" + blob(inner) + b"."
    return inner
