"""What a director knows: the nodes that registered and the experiments that were submitted. No gRPC in here.

It decides as the director of OpenFL 1.6 does, its mistakes included; where that one raises, this one raises the same.
Everything is guarded by the condition that its owner gives it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fedenvoy.wire import openfl16_pb2 as wire

__all__ = ["Experiment", "Node", "Registry", "UnknownShardError"]


class UnknownShardError(LookupError):
    """A health check of a name that is not registered."""


@dataclass(slots=True)
class Node:
    """A registered node.

    Attributes:
        shard: What it registered with; the GPU readings of its health checks are written into it.
        running: Whether it said that an experiment runs there.
        checks: The health checks it sent.

    """

    shard: wire.ShardInfo
    running: bool = False
    checks: int = 0


@dataclass(slots=True)
class Experiment:
    """A submitted experiment.

    Attributes:
        archive: Its bytes; None when the director has lost the file.
        finished: Whether its aggregator is through; an unfinished one is offered again.
        failed: The nodes that said it failed there.
        over: Asked where `finished` does not say so; for an end that comes about outside of the director.

    """

    archive: bytes | None
    finished: bool = False
    failed: list[str] = field(default_factory=list)
    over: Callable[[], bool] = bool

    @property
    def is_over(self) -> bool:
        """Whether it is not offered any more."""
        return self.finished or self.over()


class Registry:
    """What one director knows.

    Args:
        changed: Guards everything; notified at each change.
        sample_shape: The shape it accepts; None: any.
        target_shape: Likewise.
        reoffers: Whether a node that polls again gets an unfinished experiment again.

    """

    def __init__(
        self,
        changed: threading.Condition,
        sample_shape: Sequence[str] | None,
        target_shape: Sequence[str] | None,
        *,
        reoffers: bool,
    ) -> None:
        self._changed = changed
        self.shapes = (sample_shape, target_shape)
        self._reoffers = reoffers
        self._waiting: dict[str, deque[str]] = {}
        self._parked: dict[str, deque[object]] = {}
        self._current: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        self.experiments: dict[str, Experiment] = {}
        self.handed_out: list[tuple[str, str]] = []

    def forget(self) -> None:
        """Forget all nodes and experiments; polls that are parked stay parked."""
        for known in (self._waiting, self._current, self.nodes, self.experiments):
            known.clear()

    def register(self, shard: wire.ShardInfo) -> bool:
        """Take a node in, if its shapes are right.

        Raises:
            KeyError: A shape is empty; the real director trips over that.

        """
        if not shard.sample_shape or not shard.target_shape:
            raise KeyError("target_shape" if shard.sample_shape else "sample_shape")
        given = (list(shard.sample_shape), list(shard.target_shape))
        if any(wanted is not None and list(wanted) != got for wanted, got in zip(self.shapes, given, strict=True)):
            return False
        kept = wire.ShardInfo()
        kept.CopyFrom(shard)
        self.nodes[shard.node_info.name] = Node(kept)
        return True

    def check_health(self, request: wire.UpdateEnvoyStatusRequest) -> None:
        """Note a health check.

        Raises:
            UnknownShardError: The name is not registered.
            KeyError: Readings came from a node that registered no GPU.
            IndexError: More readings came than GPUs were registered.

        """
        node = self.nodes.get(request.name)
        if node is None:
            raise UnknownShardError(f"Unknown shard {request.name}")
        node.running = request.is_experiment_running
        node.checks += 1
        devices = node.shard.node_info.cuda_devices
        if request.cuda_devices and not devices:
            raise KeyError("cuda_devices")
        if len(request.cuda_devices) > len(devices):
            raise IndexError("list assignment index out of range")
        for device, reading in zip(devices, request.cuda_devices, strict=False):
            device.CopyFrom(reading)

    def offer(self, name: str, archive: bytes, to: Sequence[str], over: Callable[[], bool] = bool) -> None:
        """Submit an experiment for some nodes; a known name is submitted anew."""
        self.experiments[name] = Experiment(archive, over=over)
        for node in to:
            self._waiting.setdefault(node, deque()).append(name)
        self._changed.notify_all()

    def next_experiment(self, node: str, alive: Callable[[], bool]) -> str | None:
        """Wait for a node's next experiment; of several calls of one node the oldest gets it.

        The lock is let go meanwhile.

        Args:
            node: Its name; whether it is registered does not matter.
            alive: Whether its call still stands.

        Returns:
            None when the call is over.

        """
        current = self._current.pop(node, None)
        if self._reoffers and current in self.experiments and not self.experiments[current].is_over:
            return self._hand_out(node, current)
        place, queue = object(), self._parked.setdefault(node, deque())
        queue.append(place)
        self._changed.notify_all()
        try:
            self._changed.wait_for(lambda: not alive() or (queue[0] is place and bool(self._waiting.get(node))))
            if not alive():
                return None
            experiment = self._waiting[node].popleft()
            return self._hand_out(node, experiment)
        finally:
            queue.remove(place)
            self._changed.notify_all()

    def _hand_out(self, node: str, experiment: str) -> str:
        self._current[node] = experiment
        self.handed_out.append((node, experiment))
        self._changed.notify_all()
        return experiment

    def parked(self, node: str) -> int:
        """Give the number of a node's polls that wait for an experiment."""
        return len(self._parked.get(node, ()))

    def archive(self, name: str) -> bytes:
        """Give an experiment's archive.

        Raises:
            KeyError: There is no such experiment.
            FileNotFoundError: Its file is gone.

        """
        archive = self.experiments[name].archive
        if archive is None:
            raise FileNotFoundError(2, "No such file or directory", name)
        return archive

    def fail(self, name: str, node: str) -> None:
        """Note that an experiment failed at a node; an unknown name is ignored."""
        if name in self.experiments:
            self.experiments[name].failed.append(node)
