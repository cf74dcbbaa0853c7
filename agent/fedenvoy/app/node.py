"""A whole node: builds the parts, lets the loop run, and takes everything down again in order."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from fedenvoy_statecharts import Event, State

from fedenvoy import certificates
from fedenvoy.app.connection import Connection
from fedenvoy.app.control import controllable
from fedenvoy.app.dispatcher import Dispatcher
from fedenvoy.app.gpus import Gpus
from fedenvoy.app.jobs import Jobs
from fedenvoy.app.keeper import Keeper
from fedenvoy.app.past import carried_over, open_store
from fedenvoy.app.renewal import CertificateEnds
from fedenvoy.app.signals import answered
from fedenvoy.app.site import Site
from fedenvoy.commands import End, Record, Report
from fedenvoy.config import NodeConfig
from fedenvoy.core import Core, Snapshot
from fedenvoy.devices import GpuReport
from fedenvoy.errors import ConfigurationError, Exit
from fedenvoy.events import DeviceReading, Forget, Message, Problem
from fedenvoy.logs import log_transition
from fedenvoy.loop import Loop
from fedenvoy.monitor import gpu_sampler
from fedenvoy.monitor.detector import DEFAULT_PERIOD
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.monitor.hook import HookSampler
from fedenvoy.ports import DirectorPort
from fedenvoy.service.manager import ServiceManager
from fedenvoy.store import StateLock
from fedenvoy.workspace.runs import clean_leftovers

if TYPE_CHECKING:
    from fedenvoy.app.web import Web

__all__ = ["Node", "run_node"]

logger = logging.getLogger("fedenvoy")

JOIN_TIMEOUT = 5.0
"""Seconds to wait for a thread beyond what its own work may take."""


class Node:
    """One agent, for one session.

    Args:
        config: All it needs to know.
        review: The reviewer, `review("plan", path) -> bool`; None accepts everything.
        observe: Called in the owner thread after every step, with its record.
        readings: Replaces the GPU sampler's readings (a subclass of the public class may want that).

    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        review: Callable[[str, str], Any] | None = None,
        observe: Callable[[Record], None] = lambda _record: None,
        readings: Callable[[], tuple[DeviceReading, ...]] | None = None,
    ) -> None:
        self.config = config
        self.session = f"{int(time.time()):x}-{secrets.token_hex(4)}"
        self._review = review
        self._observe = observe
        self._readings = readings
        self._loop: Loop | None = None
        self._gpus: Gpus | None = None
        self._site: Site | None = None
        self._web: Web | None = None
        self._certificates = CertificateEnds(config.tls)
        self._early: list[Message] = []
        self._guard = threading.RLock()  # a signal's handler may find its own thread holding it

    @property
    def snapshot(self) -> Snapshot:
        """The agent at this moment; thread-safe."""
        loop = self._loop
        return loop.snapshot if loop else Snapshot(State.DISCONNECTED, since=time.monotonic())

    @property
    def busy_for(self) -> float:
        """Seconds that the owner has been at its present step; 0 while it waits. Thread-safe."""
        loop = self._loop
        return loop.busy_for if loop else 0.0

    @property
    def isolation(self) -> str | None:
        """How far experiments are kept away from this machine, in words; None while that is not known. Thread-safe."""
        found = None if self._site is None else self._site.confining.known
        return None if found is None else str(found)

    @property
    def gpus(self) -> GpuReport:
        """The GPUs at this moment; thread-safe."""
        return self._gpus.report() if self._gpus else GpuReport()

    def certificate_ends(self) -> Mapping[str, float]:
        """Give when each certificate ends, by its role; seconds since the epoch. Thread-safe; may take a second."""
        return self._certificates.ends()

    def reconnect(self) -> None:
        """Connect to the director anew, so that renewed certificates take effect; a run goes on. Thread-safe.

        Where the files cannot be used the present link is kept, and the log says why.
        """
        tls, snapshot = self.config.tls, self.snapshot
        try:
            if tls is not None:
                certificates.check(tls=True, **attrs.asdict(tls, recurse=False))
        except ConfigurationError as error:
            for problem in error.problems:
                logger.error("the link is kept as it is: %s", problem)  # noqa: TRY400 - the sentence says it
            return
        text = "this node was asked to connect anew"
        self._post(Problem(event=Event.DIRECTOR_LOST, scopes=snapshot.scopes, text=text, code="reconnect"))

    def stop(self) -> None:
        """Ask for an orderly end. Thread-safe, returns at once; also works before `run`."""
        self._post(Message(event=Event.STOP_REQUESTED))

    def abort(self) -> None:
        """Ask for an end at once. Thread-safe, returns at once."""
        self._post(Message(event=Event.ABORT_REQUESTED))

    def cancel(self, reason: str) -> None:
        """End the experiment in hand; the director is told. Does nothing when there is none. Thread-safe."""
        text = f"cancelled on this node: {reason}"
        self._post(Problem(event=Event.CANCEL_REQUESTED, scopes=self.snapshot.scopes, text=text, code="cancelled"))

    def pause(self) -> None:
        """Take no further experiment until `resume`, also in later sessions. Thread-safe, returns at once."""
        self._post(Message(event=Event.PAUSE_REQUESTED))

    def resume(self) -> None:
        """End a pause. Thread-safe, returns at once."""
        self._post(Message(event=Event.RESUME_REQUESTED))

    def forget(self, experiment: str) -> None:
        """Remove what is remembered of an experiment's name: it is taken again. Thread-safe, returns at once."""
        self._post(Forget(event=Event.FORGET_REQUESTED, experiment=experiment))

    def _post(self, message: Message) -> None:
        with self._guard:
            if self._loop is not None:
                self._loop.post(message)
            else:
                self._early.append(message)

    def run(self) -> Exit:
        """Work until stopped; the calling thread owns the agent.

        Returns:
            The exit code.

        Raises:
            StoreError: The state directory cannot be used, or another agent holds it.
            ConfigurationError: Experiments cannot be isolated here as the site asks for.

        """
        with contextlib.ExitStack() as stack:
            loop = self._build(stack)
            with self._guard:
                self._loop = loop
                for message in self._early:
                    loop.post(message)
            end = loop.run()
        self._say_goodbye(end)
        return end.code

    def _build(self, stack: contextlib.ExitStack) -> Loop:
        """Make and connect the parts; each is taken down by the stack, in reverse order."""
        config = self.config
        site = Site(config, session=self.session, review=self._review)
        if site.confining.asked:
            site.confining.isolation()
        self._site = site
        lock = StateLock(site.node_dir)
        stack.callback(lock.release)
        clean_leftovers(site.node_dir, site.hosting.keep)
        store = open_store(config.agent, site.node_dir, self.session)
        stack.callback(store.close)
        keeper = Keeper(store, self._post)
        stack.callback(keeper.close)
        carried = carried_over(store)
        self._web = self._open_web(stack, site.node_dir, carried.reports)
        core = Core(config.agent, session=self.session, now=time.monotonic(), carried=carried)
        jobs = Jobs()
        loop = Loop(
            core,
            persist=keeper.keep,
            dispatch=lambda c: dispatcher.dispatch(c),  # noqa: PLW0108 - made below
            observe=partial(self._after_step, jobs),
        )
        sampler = HookSampler(self._readings, config.agent.gpu.interval) if self._readings else gpu_sampler(config)
        stack.callback(sampler.stop)
        self._gpus = site.gpus = Gpus(config, sampler, site.root)
        monitor = HealthMonitor(
            loop.post, is_running=lambda: loop.snapshot.training, readings=sampler.readings, age=sampler.age
        )
        stack.callback(monitor.stop, JOIN_TIMEOUT)
        stack.callback(clean_leftovers, site.node_dir, site.hosting.keep)
        stack.callback(self._end_jobs, jobs)
        connection = Connection(
            open_link=partial(open_link, config),
            target=config.director.target,
            devices=config.cuda_devices,
            post=loop.post,
            jobs=jobs,
            monitor=monitor,
            readings=sampler.readings,
            unfit=site.gpus.declines,
            retention=config.agent.report.retention,
        )
        stack.callback(connection.drop)
        dispatcher = Dispatcher(site=site, post=loop.post, jobs=jobs, connection=connection)
        stack.callback(dispatcher.close)
        sampler.start()
        stack.enter_context(controllable(self, site))
        if self._web is not None:
            self._web.start()
        return loop

    def _open_web(self, stack: contextlib.ExitStack, directory: Path, waiting: Sequence[Report]) -> Web | None:
        """Listen for monitoring systems where that is wanted; they are answered once all parts are there."""
        if self.config.agent.http.listen is None:
            return None
        from fedenvoy.app.web import Web  # noqa: PLC0415 - few nodes want it

        web = Web(self, directory, waiting)
        stack.callback(web.stop)
        return web

    def _after_step(self, jobs: Jobs, record: Record) -> None:
        log_transition(logger, record)
        if record.event is Event.HEALTH_CHECKED and self._certificates.due():
            jobs.start("certificates", self._certificates.warn, lambda _error: None)
        if self._web is not None:
            self._web.note(record)
        self._observe(record)

    def _end_jobs(self, jobs: Jobs) -> None:
        for name in jobs.close(self.config.agent.kill_grace + JOIN_TIMEOUT):
            logger.error("%s did not end in time and is left behind", name)

    def _say_goodbye(self, end: End) -> None:
        level = logging.INFO if end.code is Exit.OK else logging.ERROR
        logger.log(level, "session ended: %s (exit code %d)", end.text, end.code)


def open_link(config: NodeConfig, period: float = DEFAULT_PERIOD) -> DirectorPort:
    """Open a channel to the director of a node's configuration; gRPC is loaded here.

    Args:
        config: The node's configuration.
        period: Seconds between health checks, until the director says otherwise.
    """
    from fedenvoy.link.director import DirectorLink  # noqa: PLC0415

    return DirectorLink(
        shard_name=config.shard_name,
        director=config.director,
        tls=config.tls,
        settings=config.agent.link,
        poll=config.agent.poll,
        fetch=config.agent.fetch,
        period=period,
    )


def run_node(
    config: NodeConfig,
    *,
    review: Callable[[str, str], Any] | None = None,
    handle_signals: bool = True,
    ended: Callable[[Exit], None] = lambda _code: None,
) -> Exit:
    """Run a node until it is stopped, and give its exit code; what the command line does.

    Where a service manager started this process, it is told how the node fares, and its variables leave the
    environment.

    Args:
        config: All it needs to know.
        review: The reviewer; None accepts everything.
        handle_signals: Whether SIGTERM and SIGINT stop it (main thread only).
        ended: Called with the exit code once the node has ended, while signals still are answered.

    Raises:
        FedenvoyError: The node could not be started.

    """
    manager = ServiceManager.from_environment(os.environ, config.agent)
    node = Node(config, review=review, observe=lambda record: manager.note(record, node.snapshot))
    with contextlib.closing(manager), answered(node) if handle_signals else contextlib.nullcontext():
        code = node.run()
        ended(code)
        return code
