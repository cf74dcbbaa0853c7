"""What the service manager is told of a node, step by step: that it is up, what it does, that it is alive, its end.

The watchdog is fed by what happened, never by a clock of its own: a step of the owner that shows contact with the
director, or a try that is set and accounted for. A thread that only says "alive" would go on saying it beside an owner
that hangs. Since such steps are as rare as the director wants its health checks, the manager is also told how long the
agent may be silent before the next one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import MutableMapping
from typing import Protocol

from fedenvoy_statecharts import Event, State

from fedenvoy.backoff import LONGEST_PAUSE
from fedenvoy.commands import Record
from fedenvoy.config import AgentSettings
from fedenvoy.logs import TOLD_ALTHOUGH_INTERNAL, bounded, escape
from fedenvoy.service.notify import NotifySocket

__all__ = ["CONTACT", "Picture", "ServiceManager"]

logger = logging.getLogger(__name__)

CONTACT = frozenset(
    {Event.HEALTH_CHECKED, Event.REGISTRATION_ACCEPTED, Event.REGISTRATION_REFUSED, Event.SHARD_FORGOTTEN}
)
"""The director has answered just now."""
ACCOUNTED = frozenset(
    {
        Event.STARTED,
        Event.SHARD_DESCRIBED,
        Event.REGISTRATION_FAILED,
        Event.LINK_REJECTED,
        Event.DIRECTOR_LOST,
        Event.HEALTH_MISSED,
    }
)
"""It has not, which was noticed, and the same step sets when it is tried again."""

DESCRIBING = 24 * 3600.0
"""Seconds that describing the shard may take: a descriptor may have data to download, and has no other bound."""
CALLS = 3
"""Calls with a deadline that one dial may take, with one to spare."""
SLACK = 30.0
"""Seconds on top of every bound: for a machine that is busy training."""

_NEW_STATUS = TOLD_ALTHOUGH_INTERNAL | {Event.SHARD_DESCRIBED, Event.PAUSE_REQUESTED, Event.RESUME_REQUESTED}
"""Steps within a state after which the status says something else."""
_STATUS_LIMIT = 240
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Picture(Protocol):
    """What is looked at of a snapshot of the agent."""

    @property
    def describing(self) -> bool:
        """Whether the shard is being described, so that the director has not been called yet."""

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""

    @property
    def paused(self) -> bool:
        """Whether offers are declined on the operator's wish."""

    @property
    def period(self) -> float:
        """Seconds between health checks."""


class ServiceManager:
    """The manager that started this process, or nobody. Used by the owner thread.

    Args:
        socket: Where to tell it; None: there is no manager, and nothing is told.
        settings: How long this node's calls and its end may take.
        watchdog: Seconds of silence after which the manager ends the process; 0: it does not watch.

    """

    def __init__(self, socket: NotifySocket | None, settings: AgentSettings, *, watchdog: float = 0.0) -> None:
        self._socket = socket
        self._dialling = LONGEST_PAUSE + CALLS * settings.link.call_timeout
        self._ending = settings.kill_grace + SLACK
        self._watchdog = self._told_watchdog = watchdog
        self._status = ""
        self._leaving = False

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], settings: AgentSettings) -> ServiceManager:
        """Find the manager, and take its variables out of the environment: they are for this process alone.

        Args:
            environ: The process's environment; changed.
            settings: See the class.

        """
        address, usec, pid = (environ.pop(name, "") for name in _VARIABLES)
        if not address:
            return cls(None, settings)
        if not address.startswith(("/", "@")):
            logger.warning("NOTIFY_SOCKET=%s: expected an absolute path or @NAME; nothing is told", escape(address))
            return cls(None, settings)
        for_us = usec.isdecimal() and pid in {"", str(os.getpid())}
        return cls(NotifySocket(address), settings, watchdog=int(usec) / 1e6 if for_us else 0.0)

    def note(self, record: Record, picture: Picture) -> None:
        """Tell what a step of the agent means to the manager; neither blocks nor raises.

        Args:
            record: The step.
            picture: The agent after it.

        """
        if self._socket is None:
            return
        fields: dict[str, str] = {}
        if record.event is Event.STARTED:
            fields["READY"] = "1"
        ended = record.target is State.STOPPED
        leaves = (ended or picture.stopping) and not self._leaving
        if leaves:
            self._leaving = True
            fields["STOPPING"] = "1"
        if not record.internal or record.event in _NEW_STATUS:
            fields |= self._new_status(record, picture)
        if leaves or ended or record.event in CONTACT | ACCOUNTED:
            fields |= self._life(self._ending if ended else self._patience(picture))
        if fields:
            self._socket.send(fields)

    def _new_status(self, record: Record, picture: Picture) -> dict[str, str]:
        status = status_text(record, picture)
        if status == self._status:
            return {}
        self._status = status
        return {"STATUS": status}

    def _life(self, patience: float) -> dict[str, str]:
        """Say that the agent is alive, and for how long it may now be silent.

        Once it leaves, the manager does not watch any more; it waits for the end, and is asked to wait a little longer
        each time the agent shows that it is alive. So a drain may take as long as it was configured to, and an agent
        that hangs in it is not waited for.
        """
        if self._leaving:
            return {"EXTEND_TIMEOUT_USEC": _usec(patience)}
        if not self._watchdog:
            return {}
        life = {"WATCHDOG": "1"}
        wanted = max(self._watchdog, patience)
        if wanted != self._told_watchdog:
            self._told_watchdog = wanted
            life["WATCHDOG_USEC"] = _usec(wanted)
        return life

    def _patience(self, picture: Picture) -> float:
        """Give the seconds in which the next sign of life must come, whatever the director does meanwhile.

        With the link up that is the next health check, answered or missed; with it down, the end of the next dial.
        """
        if picture.describing:
            return DESCRIBING
        return max(2 * picture.period, self._dialling) + SLACK

    def close(self) -> None:
        """Let go of the socket; harmless when repeated."""
        if self._socket is not None:
            self._socket.close()


def status_text(record: Record, picture: Picture) -> str:
    """Write one line for people: the state's name first, then how it came to be."""
    marks = [word for word, holds in (("stopping", picture.stopping), ("paused", picture.paused)) if holds]
    if record.target is State.STOPPED:
        marks.clear()
    head = f"{record.target} ({', '.join(marks)})" if marks else str(record.target)
    parts = [str(record.event).replace("_", " ")]
    if record.attempt:
        parts.append(f"try {record.attempt}")
    if record.experiment:
        parts.append(f"experiment {bounded(record.experiment, 60)!r}")
    if picture.describing:
        parts.append("describing the shard, the director has not been called yet")
    elif record.cause:
        parts.append(record.cause)
    return bounded(escape(f"{head}: {', '.join(parts)}"), _STATUS_LIMIT)


def _usec(seconds: float) -> str:
    return str(round(seconds * 1e6))
