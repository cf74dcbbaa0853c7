"""The public class: OpenFL's `Envoy`, signature, attributes and methods, over a fedenvoy node.

from fedenvoy import Envoy

Envoy(shard_name="hospital-1", director_host="director", director_port=50051,
shard_descriptor=MyShard(), root_certificate=..., private_key=..., certificate=...).start()
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Event as ThreadEvent
from threading import Thread
from typing import Any, ClassVar

from attrs import evolve

from fedenvoy.app.node import Node, open_link
from fedenvoy.calls import CallError
from fedenvoy.certificates import check
from fedenvoy.client import ShardDirectorClient, readings_from_dicts
from fedenvoy.config import PREFIX, AgentSettings, DirectorAddress, NodeConfig
from fedenvoy.engines.descriptors import check_sendable, describe_instance
from fedenvoy.errors import Exit, FedenvoyError
from fedenvoy.events import DeviceReading, Message, Scopes
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.monitor.hook import HookSampler
from fedenvoy.monitor.plugin import load_probe
from fedenvoy.monitor.reader import DeviceReader

__all__ = ["Envoy"]

logger = logging.getLogger(__name__)

_GLANCE = 0.2
"""Seconds between two looks at whether health checks are still this class's to send."""
_PAUSE = 5.0
"""Seconds between two registrations that fail; the reference's own."""


class Envoy:
    """A federated-learning node agent: registers a shard with a director and takes part in its experiments.

    Arguments and attributes are those of `openfl.component.envoy.envoy.Envoy`; `agent` is ours.

    Args:
        shard_name: The name under which the director knows this node.
        director_host: The director's host.
        director_port: The director's port.
        shard_descriptor: An object with `sample_shape`, `target_shape`, `dataset_description` and
            `get_dataset(dataset_type)`; it must be importable or picklable, since experiments run in processes of
            their own.
        root_certificate: Path of the federation's certificate authority, PEM.
        private_key: Path of this node's key, PEM.
        certificate: Path of this node's certificate, PEM.
        tls: False talks plain text and needs no certificates.
        install_requirements: Whether an experiment's requirements are installed, into an environment of its own.
        cuda_devices: The GPUs offered, in order.
        cuda_device_monitor: An object with the methods of OpenFL's `CUDADeviceMonitor`; None uses nvidia-ml-py.
        review_plan_callback: `callback("plan", path) -> bool`, asked before anything of an experiment runs.
        agent: Settings that OpenFL does not know; see `fedenvoy.config.AgentSettings`. None: the defaults, and what the
            environment says (`FEDENVOY_LINK_TRIES` for `agent.link.tries`; a ConfigurationError where that is wrong).

    Attributes:
        name: The shard name.
        root_certificate: Absolute path, or None.
        private_key: Absolute path, or None.
        certificate: Absolute path, or None.
        director_client: Calls the director directly; the agent does not use it.
        shard_descriptor: The descriptor given.
        cuda_devices: The GPUs, as a tuple.
        install_requirements: As given.
        review_plan_callback: As given.
        cuda_device_monitor: As given.

    Raises:
        ConfigurationError: A certificate is missing or wrong; the message names every wrong file.
        ShardError: The descriptor cannot be sent to another process; the message names the attribute in the way.

    """

    _hooks: ClassVar[dict[str, str]] = {
        "_run_collaborator": "write an engine (entry-point group fedenvoy.engines) to change what Training runs",
        "_save_data_stream_to_file": "bound what is accepted with the agent.archive settings instead",
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse overrides of private methods that nothing calls here, naming what to use instead."""
        super().__init_subclass__(**kwargs)
        for name, instead in Envoy._hooks.items():
            if name in cls.__dict__:
                raise TypeError(f"{cls.__name__} overrides {name}, which fedenvoy never calls: {instead}")

    def __init__(
        self,
        *,
        shard_name: str,
        director_host: str,
        director_port: int,
        shard_descriptor: Any,
        root_certificate: Path | str | None = None,
        private_key: Path | str | None = None,
        certificate: Path | str | None = None,
        tls: bool = True,
        install_requirements: bool = True,
        cuda_devices: Sequence[int | str] = (),
        cuda_device_monitor: Any = None,
        review_plan_callback: Callable[[str, str], Any] | None = None,
        agent: AgentSettings | None = None,
    ) -> None:
        self.name = shard_name
        self.root_certificate = _absolute(root_certificate)
        self.private_key = _absolute(private_key)
        self.certificate = _absolute(certificate)
        self.shard_descriptor = shard_descriptor
        self.cuda_devices = tuple(cuda_devices)
        self.install_requirements = install_requirements
        self.review_plan_callback = review_plan_callback
        self.cuda_device_monitor = cuda_device_monitor
        self._director = DirectorAddress(director_host, director_port)
        files, warnings = check(tls, self.root_certificate, self.private_key, self.certificate)
        for warning in warnings:
            logger.warning("%s", warning)
        check_sendable(shard_descriptor)
        self._tls = files
        self._agent = agent or _settings()
        self.director_client = ShardDirectorClient(self._config())
        self._executor: ThreadPoolExecutor | None = None
        self._node: Node | None = None
        self._stopped = ThreadEvent()
        self._stops = 0
        self._health_check_future: Future[None] | None = None

    def _overrides(self, name: str) -> bool:
        """Whether a subclass, or this object itself, has a method of its own by this name."""
        return getattr(getattr(self, name), "__func__", None) is not getattr(Envoy, name)

    def _config(self) -> NodeConfig:
        """Put the present attributes together; they may have been changed since construction."""
        return NodeConfig(
            shard_name=self.name,
            director=self._director,
            shard=self.shard_descriptor,
            tls=self._tls,
            install_requirements=self.install_requirements,
            cuda_devices=self.cuda_devices,
            cuda_device_monitor=self.cuda_device_monitor,
            agent=evolve(self._agent),
        )

    @property
    def executor(self) -> ThreadPoolExecutor:
        """A pool for the user's own work, made at first use; nothing of the agent runs in it."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(thread_name_prefix="fedenvoy-user")
        return self._executor

    @executor.setter
    def executor(self, pool: ThreadPoolExecutor) -> None:
        self._executor = pool

    @property
    def is_experiment_running(self) -> bool:
        """Whether an experiment's process runs at this moment."""
        return self._node is not None and self._node.snapshot.training

    @property
    def running_experiments(self) -> dict[str, Any]:
        """The experiment in hand, by name, with the state it is in; empty when there is none."""
        if self._node is None or self._session() is None:
            return {}
        snapshot = self._node.snapshot
        return {snapshot.experiment: {"state": snapshot.state.value}} if snapshot.experiment else {}

    def start(self) -> None:
        """Register and take part in experiments until stopped, then return: calls `run`, as the reference does.

        Works in any thread; signal handlers are the caller's affair (`fedenvoy start` has its own).

        Raises:
            SystemExit: The agent could not be started or ended for a reason other than `stop`; the code is one of
                `fedenvoy.errors.Exit`, and the reason is logged.

        """
        self.run()

    def run(self) -> None:
        """Do the working cycle, registering first; returns and raises as `start` does."""
        code = self._work()
        if code is not Exit.OK:
            raise SystemExit(int(code))

    def _work(self) -> Exit:
        readings = self._own_readings if self._overrides("_get_cuda_device_info") else None
        node = Node(self._config(), review=self.review_plan_callback, readings=readings)
        self._node = node
        ended = self._health_check_future = Future[None]()
        if self._stopped.is_set():
            node.stop()
        if self._overrides("send_health_check"):
            # The user's own loop, beside the agent's: not in the executor, where it would hold the program's end.
            Thread(target=self.send_health_check, name="fedenvoy-user-health", daemon=True).start()
        try:
            return node.run()
        except FedenvoyError as error:
            logger.error("%s", error)  # noqa: TRY400 - one sentence that says what to do
            return error.exit_code
        finally:
            self._stopped.clear()
            ended.set_result(None)
            if self._executor is not None:
                self._executor.shutdown(wait=False)
                self._executor = None

    def stop(self) -> None:
        """End the agent in order, from any thread; `start` returns once it has ended, at once if not yet begun."""
        self._stops += 1
        self._stopped.set()
        if self._node is not None:
            self._node.stop()

    def send_health_check(self) -> None:
        """Send health checks until stopped.

        While the agent runs it sends them by itself, and this only waits for its end. Called alone, it registers the
        shard and keeps it shown as online, without taking any work; should the agent be started meanwhile, it takes
        over.
        """
        before = self._stops
        while (session := self._session()) is None:
            # Counted, too: a session that came and went meanwhile has taken the wish to stop for its own.
            if self._stopped.is_set() or self._stops != before:
                self._stopped.clear()
                return
            self._beat_on_one_link(before)
        session.result()

    def _session(self) -> Future[None] | None:
        """Give what ends with the agent's session; None while none is under way."""
        session = self._health_check_future
        return None if session is None or session.done() else session

    def _beat_on_one_link(self, stops: int) -> None:
        """Register and send health checks until the link is lost, `stop` is called, or the agent does it."""
        lost = ThreadEvent()

        def post(message: Message) -> None:
            if message.event.value in {"director_lost", "shard_forgotten", "link_rejected"}:
                lost.set()

        def over(patience: float) -> bool:
            return lost.wait(patience) or self._stops != stops or self._session() is not None

        link = open_link(self._config())
        sampler = HookSampler(self._own_readings, self._agent.gpu.interval)
        monitor = HealthMonitor(post, is_running=lambda: False, readings=sampler.readings, age=sampler.age)
        sampler.start()
        try:
            if link.register(describe_instance(self.shard_descriptor), self.cuda_devices):
                # Until a node has polled once, the director fails whoever lists the nodes; what comes is not taken.
                link.poll_ahead()
                monitor.begin(link, Scopes())
                while not over(_GLANCE):
                    pass
                return
            logger.warning("the director does not accept this shard")
        except CallError as error:
            logger.warning("registration failed: %s", error)
        finally:
            monitor.stop(5.0)
            sampler.stop()
            link.close()
        for _ in range(round(_PAUSE / _GLANCE)):
            if over(_GLANCE):
                return

    def _get_cuda_device_info(self) -> list[dict[str, Any]] | None:
        """Give what `cuda_device_monitor` says of each GPU; None without one.

        A subclass may override it, and its answer then goes with every health check. The agent itself reads the GPUs
        in a thread of its own and does not ask here.
        """
        if self.cuda_device_monitor is None:
            return None
        probe = load_probe(self.cuda_device_monitor, self._agent.home)
        return [asdict(reading) for reading in DeviceReader(self.cuda_devices).read(probe).readings]

    def _own_readings(self) -> tuple[DeviceReading, ...]:
        return readings_from_dicts(self._get_cuda_device_info() or ())


def _absolute(path: Path | str | None) -> Path | None:
    return Path(path).absolute() if path is not None else None


def _settings() -> AgentSettings:
    """Give the defaults, and what the environment says."""
    if not any(name.startswith(PREFIX) for name in os.environ):
        return AgentSettings()
    from fedenvoy.configfile.overrides import agent_settings  # noqa: PLC0415 - reads YAML

    return agent_settings(os.environ, Path.cwd())
