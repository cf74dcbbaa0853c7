"""A node's controls for the socket: what its operator may ask for, as plain callables over plain values."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedenvoy import __version__
from fedenvoy.control.places import Place, note_place
from fedenvoy.control.server import ControlError, Controls, ControlServer

if TYPE_CHECKING:
    from fedenvoy.app.node import Node

__all__ = ["controllable", "facts"]

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def controllable(node: Node, directory: Path) -> Iterator[None]:
    """Let the node be controlled for the length of a block; where that cannot be, it works without, and says so.

    Args:
        node: The node.
        directory: Its state directory.

    """
    server = ControlServer(directory, controls(node))
    try:
        note_place(Place(directory, node.config.shard_name, node.config.director.target))
        server.start()
    except OSError as error:
        logger.warning("%s cannot be written: %s", directory, error)
    except ControlError as error:
        logger.warning("%s", error)
    try:
        yield
    finally:
        server.stop()


def controls(node: Node) -> Controls:
    """Give the callables."""

    def cancel(reason: str) -> str:
        name = node.snapshot.experiment
        if name:
            node.cancel(reason or "by its operator")
        return name

    return Controls(
        snapshot=lambda: facts(node),
        pause=node.pause,
        resume=node.resume,
        forget=node.forget,
        cancel=cancel,
        stop=node.stop,
        abort=node.abort,
    )


def facts(node: Node) -> Mapping[str, Any]:
    """Give the agent at this moment, as JSON can hold it; times are wall-clock seconds since the epoch."""
    snapshot = node.snapshot
    offset = time.time() - time.monotonic()

    def moment(monotonic: float | None) -> float | None:
        return None if monotonic is None else monotonic + offset

    return {
        "pid": os.getpid(),
        "version": __version__,
        "session": node.session,
        "state": snapshot.state.value,
        "since": moment(snapshot.since),
        "experiment": snapshot.experiment,
        "run": snapshot.scopes.run,
        "entry": snapshot.scopes.entry,
        "link": snapshot.scopes.link,
        "link_up": snapshot.link_up,
        "misses": snapshot.misses,
        "last_contact": moment(snapshot.contact),
        "retry_at": moment(snapshot.retry_at),
        "outbox": snapshot.outbox,
        "declined": [
            {"experiment": one.experiment, "why": one.why, "until": moment(one.until)} for one in snapshot.declined
        ],
        "paused": snapshot.paused,
        "stopping": snapshot.stopping,
        "drain_timeout": node.config.agent.drain_timeout,
    }
