"""The words on the socket: one line of JSON asks, one line of JSON answers, and the connection is over.

Both sides import this and nothing else of each other. A request is an object with `command` and at most one text that
goes with it; an answer is an object with `ok`, and with `error` (one sentence) where that is false.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedenvoy.errors import FedenvoyError

__all__ = [
    "ANSWER_LIMIT",
    "ARGUMENTS",
    "REQUEST_LIMIT",
    "SOCKET",
    "TEXT_LIMIT",
    "TIME_LIMIT",
    "BadRequestError",
    "Request",
    "encoded",
    "parsed",
    "reachable",
    "refusal",
]

SOCKET = "control.sock"
"""Name of the socket in a node's state directory."""
REQUEST_LIMIT = 16 * 1024
"""The most bytes in a request, its line end included."""
ANSWER_LIMIT = 4 * 2**20
"""The most bytes of an answer that a client reads."""
TEXT_LIMIT = 2000
"""The most characters in the text that goes with a command."""
TIME_LIMIT = 5.0
"""Seconds in which a client must have asked and taken its answer, and in which a client expects one."""

ARGUMENTS: Mapping[str, str | None] = {
    "snapshot": None,
    "pause": None,
    "resume": None,
    "forget": "experiment",
    "cancel": "reason",
    "stop": None,
    "abort": None,
}
"""The commands, and the name of the text that goes with each."""

_ADDRESS_LIMIT = 107
"""The most bytes in the path of a unix socket, on Linux."""


class BadRequestError(FedenvoyError):
    """A request that cannot be understood; the text is the answer to it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Attributes:
        command: One of `ARGUMENTS`.
        text: The text that goes with it; empty where none does.

    """

    command: str
    text: str = ""


def encoded(message: Mapping[str, Any]) -> bytes:
    """Write one line."""
    return json.dumps(message, ensure_ascii=True).encode("ascii") + b"\n"


def refusal(sentence: str) -> bytes:
    """Write the answer to what is not done."""
    return encoded({"ok": False, "error": sentence})


def parsed(line: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequestError: In one sentence, what was expected.

    """
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequestError(
            'the request is not a line of JSON; expected {"command": "snapshot"} or the like'
        ) from None
    if not isinstance(content, dict):
        raise BadRequestError("the request is not a JSON object")
    command = content.pop("command", None)
    if not isinstance(command, str) or command not in ARGUMENTS:
        raise BadRequestError(f"`command` must be one of {', '.join(ARGUMENTS)}")
    return Request(command, _text(command, content))


def _text(command: str, content: dict[str, Any]) -> str:
    name = ARGUMENTS[command]
    text = content.pop(name, "") if name else ""
    if content:
        key = str(next(iter(content)))[:50]
        raise BadRequestError(f"`{command}` takes {f'`{name}` alone' if name else 'nothing else'}, and not {key!r}")
    if not isinstance(text, str) or len(text) > TEXT_LIMIT:
        raise BadRequestError(f"`{name}` must be a text of at most {TEXT_LIMIT} characters")
    if command == "forget" and not text:
        raise BadRequestError("`forget` needs the name of an `experiment`")
    return text


@contextlib.contextmanager
def reachable(directory: Path) -> Iterator[str]:
    """Give the address of the directory's socket for the length of a block, however long the directory's path is.

    A path that a socket address cannot hold is entered through a descriptor of the directory.

    Raises:
        OSError: The directory cannot be opened.

    """
    path = str(directory / SOCKET)
    if len(os.fsencode(path)) <= _ADDRESS_LIMIT:
        yield path
        return
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
