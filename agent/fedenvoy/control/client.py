"""The operator's side of the control socket: one question, one answer, within a few seconds."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from fedenvoy.control.protocol import ANSWER_LIMIT, ARGUMENTS, TIME_LIMIT, encoded, reachable
from fedenvoy.errors import FedenvoyError

__all__ = ["AnswerError", "UnreachableError", "ask"]


class UnreachableError(FedenvoyError):
    """No agent answers at the socket; the text says what the system said."""


class AnswerError(FedenvoyError):
    """An agent is there, and refuses, or its answer cannot be understood."""


def ask(directory: Path, command: str, *texts: str, timeout: float = TIME_LIMIT) -> dict[str, Any]:
    """Ask the agent that holds a state directory.

    Args:
        directory: The node's state directory.
        command: One of `protocol.ARGUMENTS`.
        texts: What goes with it, in the order in which `ARGUMENTS` names it; an empty one is left out.
        timeout: Seconds that each step may take.

    Returns:
        The answer, whose `ok` is true.

    Raises:
        UnreachableError: No agent answers there.
        AnswerError: The agent refuses; the text is its sentence.

    """
    named = zip(ARGUMENTS[command], texts, strict=False)
    request = {"command": command} | {name: text for name, text in named if text}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            with reachable(directory) as address:
                connection.connect(address)
            line = _exchange(connection, encoded(request))
    except OSError as error:
        raise UnreachableError(error.strerror or str(error)) from error
    return _understood(line)


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    """Send a request and read the answer; one that was refused before it was read has its answer, too."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(request)
    line = bytearray()
    while not line.endswith(b"\n"):
        received = connection.recv(65536)
        if not received or len(line) > ANSWER_LIMIT:
            raise ConnectionResetError("the agent ended the connection without an answer")
        line += received
    return bytes(line)


def _understood(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
        if answer["ok"]:
            return dict(answer)
        sentence = str(answer["error"])
    except (ValueError, KeyError, TypeError) as error:
        raise AnswerError("the agent's answer cannot be understood; is it of another version?") from error
    raise AnswerError(sentence)
