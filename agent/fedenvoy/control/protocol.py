"""The words on the socket: one line of JSON asks, one line of JSON answers, and the connection is over.

Both sides import this and nothing else of each other. A request is an object with `command` and the texts that go with
it; an answer is an object with `ok`, and with `error` (one sentence) where that is false.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
REQUEST_LIMIT = 128 * 1024
"""The most bytes in a request, its line end included."""
ANSWER_LIMIT = 4 * 2**20
"""The most bytes of an answer that a client reads."""
TEXT_LIMIT = 2000
"""The most characters in each text that goes with a command."""
TIME_LIMIT = 5.0
"""Seconds in which a client must have asked and taken its answer, and in which a client expects one."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "snapshot": (),
    "pause": (),
    "resume": (),
    "forget": ("experiment",),
    "cancel": ("reason",),
    "stop": (),
    "abort": (),
    "review_list": (),
    "review_show": ("case",),
    "review_approve": ("case", "reason", "name", "token"),
    "review_reject": ("case", "reason", "name", "token"),
    "review_token": ("name",),
    "review_revoke": ("name",),
}
"""The commands, and the names of the texts that go with each."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "forget": ("experiment",),
    "review_show": ("case",),
    "review_approve": ("case", "reason", "name"),
    "review_reject": ("case", "reason", "name"),
    "review_token": ("name",),
    "review_revoke": ("name",),
}
"""What may not be empty."""

_WORDS: Mapping[str, str] = {
    "experiment": "the name of an experiment",
    "case": "the id of what waits",
    "reason": "a reason",
    "name": "a person's name",
}

_ADDRESS_LIMIT = 107
"""The most bytes in the path of a unix socket, on Linux."""


class BadRequestError(FedenvoyError):
    """A request that cannot be understood; the text is the answer to it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Attributes:
        command: One of `ARGUMENTS`.
        texts: What goes with it, by name; empty where the client left it out.

    """

    command: str
    texts: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")


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
    return Request(command, _texts(command, content))


def _texts(command: str, content: dict[str, Any]) -> dict[str, str]:
    names = ARGUMENTS[command]
    texts = {name: content.pop(name, "") for name in names}
    if content:
        key = str(next(iter(content)))[:50]
        takes = f"{', '.join(f'`{name}`' for name in names)} alone" if names else "nothing else"
        raise BadRequestError(f"`{command}` takes {takes}, and not {key!r}")
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > TEXT_LIMIT:
            raise BadRequestError(f"`{name}` must be a text of at most {TEXT_LIMIT} characters")
    for name in _NEEDED.get(command, ()):
        if not texts[name].strip():
            raise BadRequestError(f"`{command}` needs {_WORDS[name]}: `{name}`")
    return texts


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
