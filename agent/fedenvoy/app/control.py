"""A node's controls for the socket: what its operator may ask for, as plain callables over plain values."""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fedenvoy import __version__
from fedenvoy.app.ballots import Ballots
from fedenvoy.control.peers import Admission
from fedenvoy.control.places import Place, note_place
from fedenvoy.control.server import ControlError, Controls, ControlServer

if TYPE_CHECKING:
    from fedenvoy.app.node import Node
    from fedenvoy.app.site import Site

__all__ = ["controllable", "facts"]

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def controllable(node: Node, site: Site) -> Iterator[None]:
    """Let the node be controlled for the length of a block; where that cannot be, it works without, and says so.

    Args:
        node: The node.
        site: Its standing arrangements.

    """
    directory = site.node_dir
    ballots = Ballots(site)
    server = ControlServer(directory, controls(node, ballots), admission=admission(site))
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
        ballots.close()


def admission(site: Site) -> Admission:
    """Say who may ask: this user and root, the group that may review, and never whom experiments run as."""
    group = site.config.agent.review.group
    number = None
    if group is not None and site.reviews:
        try:
            number = grp.getgrnam(group).gr_gid
        except KeyError:
            logger.warning("there is no group %r on this machine: only this user and root may review", group)
    run_as = site.run_as if site.config.agent.run_as is not None else None
    return Admission(number, frozenset() if run_as is None else frozenset({run_as}))


def controls(node: Node, ballots: Ballots) -> Controls:
    """Give the callables."""

    def cancel(reason: str) -> str:
        name = node.snapshot.experiment
        if name:
            node.cancel(reason or "by its operator")
        return name

    def forget(experiment: str) -> None:
        ballots.forget(experiment)
        node.forget(experiment)

    return Controls(
        snapshot=lambda: {**facts(node), "gpus": asdict(node.gpus), "review": ballots.in_hand()},
        pause=node.pause,
        resume=node.resume,
        forget=forget,
        cancel=cancel,
        stop=node.stop,
        abort=node.abort,
        review=ballots.answer,
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
        "period": snapshot.period,
        "stale": snapshot.stale,
        "last_contact": moment(snapshot.contact),
        "retry_at": moment(snapshot.retry_at),
        "outbox": snapshot.outbox,
        "declined": [
            {"experiment": one.experiment, "why": one.why, "until": moment(one.until)} for one in snapshot.declined
        ],
        "paused": snapshot.paused,
        "stopping": snapshot.stopping,
        "drain_timeout": node.config.agent.drain_timeout,
        "isolation": node.isolation,
    }
