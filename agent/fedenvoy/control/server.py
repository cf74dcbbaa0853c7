"""The agent's side of the control socket: opens it, and does what is asked for.

What is asked for is done by plain callables that return at once, because they only tell the owner thread; so nothing
that happens here can delay the agent, and a fault here ends a request and not the agent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedenvoy.control.clients import Clients
from fedenvoy.control.peers import Admission, Peer
from fedenvoy.control.protocol import (
    SOCKET,
    TIME_LIMIT,
    Request,
    encoded,
    parsed,
    reachable,
    refusal,
)
from fedenvoy.errors import FedenvoyError

__all__ = ["ControlError", "ControlServer", "Controls"]

logger = logging.getLogger(__name__)


class ControlError(FedenvoyError):
    """The socket cannot be opened; the agent works without it."""


class DeniedError(FedenvoyError):
    """Who asks may not ask for that; the text is the answer to it."""


@dataclass(frozen=True, slots=True)
class Controls:
    """What a node lets its operator do. Every callable is thread-safe and returns at once.

    Attributes:
        snapshot: Gives the agent at this moment, as plain values that JSON can hold.
        pause: Takes no new experiment from now on.
        resume: Takes experiments again.
        forget: Forgets what is remembered of an experiment's name.
        cancel: Ends the experiment in hand, for a reason; gives its name, empty when there is none.
        stop: Ends the agent in order.
        abort: Ends it at once.
        review: Does what a request of the reviews asks for, whose command begins with `review_`, on behalf of a peer.

    """

    snapshot: Callable[[], Mapping[str, Any]]
    pause: Callable[[], None]
    resume: Callable[[], None]
    forget: Callable[[str], None]
    cancel: Callable[[str], str]
    stop: Callable[[], None]
    abort: Callable[[], None]
    review: Callable[[Request, Peer], Mapping[str, Any]] | None = None

    def answer(self, request: Request, peer: Peer) -> Mapping[str, Any]:
        """Do what a request asks for, and give what is told about it.

        Raises:
            FedenvoyError: It is not done; the text says why.

        """
        command = request.command
        if command == "snapshot":
            return {"ok": True, "snapshot": self.snapshot()}
        if command.startswith("review_"):
            return self._review(request, peer)
        if not peer.owner:
            raise DeniedError("whoever may review this node's experiments may do nothing else with it")
        logger.info("asked through the control socket: %s", command)
        if command == "cancel":
            return {"ok": True, "experiment": self.cancel(request["reason"])}
        if command == "forget":
            self.forget(request["experiment"])
        else:
            {"pause": self.pause, "resume": self.resume, "stop": self.stop, "abort": self.abort}[command]()
        return {"ok": True}

    def _review(self, request: Request, peer: Peer) -> Mapping[str, Any]:
        if self.review is None:
            raise DeniedError("this agent reviews nothing")
        return {"ok": True, **self.review(request, peer)}


class ControlServer:
    """The control socket of one node; `start` opens it, `stop` takes it away.

    Args:
        directory: The node's state directory, which this agent holds.
        controls: What may be asked for.
        time_limit: Seconds in which a client must have asked and taken its answer.
        admission: Who may ask.

    """

    def __init__(
        self,
        directory: Path,
        controls: Controls,
        *,
        time_limit: float = TIME_LIMIT,
        admission: Admission = Admission(),  # noqa: B008 - frozen
    ) -> None:
        self._directory = directory
        self._path = directory / SOCKET
        self._controls = controls
        self._time_limit = time_limit
        self._admission = admission
        self._running = contextlib.ExitStack()

    def start(self) -> None:
        """Open the socket, in place of one that a dead agent left.

        Raises:
            ControlError: It cannot be opened.

        """
        try:
            with contextlib.ExitStack() as stack:
                group = self._admission.group
                _keep_private(self._directory, group)
                listener = stack.enter_context(_listening(self._directory, group))
                stack.callback(_remove, self._path, self._path.lstat().st_ino)
                waking, wake = socket.socketpair()
                stack.enter_context(waking)
                stack.enter_context(wake)
                clients = Clients(listener, waking, self._answer, self._time_limit, self._admission)
                thread = threading.Thread(target=self._work, args=(clients,), name="fedenvoy-control", daemon=True)
                thread.start()
                stack.callback(thread.join)
                stack.callback(wake.send, b"\0")
                self._running = stack.pop_all()
        except (OSError, RuntimeError) as error:
            raise ControlError(
                f"{self._path} cannot be opened ({error}): the agent works, but `fedenvoy cancel`, `pause` and the "
                "like cannot reach it"
            ) from error

    def stop(self) -> None:
        """Remove the socket and wait for the thread; harmless when repeated, or never started."""
        self._running.close()

    @staticmethod
    def _work(clients: Clients) -> None:
        try:
            clients.serve()
        except Exception:
            logger.exception("the control socket failed; `fedenvoy cancel` and the like cannot reach this agent")

    def _answer(self, line: bytes, peer: Peer) -> bytes:
        try:
            return encoded(self._controls.answer(parsed(line), peer))
        except FedenvoyError as error:
            return refusal(str(error))
        except Exception:
            logger.exception("a request to the control socket could not be carried out")
            return refusal("this agent could not do that; its log says why")


def _keep_private(directory: Path, group: int | None) -> None:
    """Let nobody else into the directory, but for a group that may pass through: whoever may enter it may ask."""
    if group is None:
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
        return
    os.chown(directory, -1, group)
    directory.chmod(0o710)


def _listening(directory: Path, group: int | None) -> socket.socket:
    """Open the socket for this user alone from its first moment on, and for the group that may review, if any."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        os.fchmod(listener.fileno(), 0o600)
        with contextlib.suppress(FileNotFoundError):
            (directory / SOCKET).unlink()
        with reachable(directory) as address:
            listener.bind(address)
        (directory / SOCKET).chmod(0o600)
        if group is not None:
            os.chown(directory / SOCKET, -1, group)
            (directory / SOCKET).chmod(0o660)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def _remove(path: Path, inode: int) -> None:
    """Remove the socket, unless another stands there by now."""
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()
