"""The messages that reach the owner thread: one frozen class per kind of payload, each stamped with its scopes.

Adapters never touch the machine. They post one of these, with the `Scopes` that came with the command they carry out,
and the core decides whether it is still current.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fedenvoy_statecharts import Event, Scope

__all__ = [
    "Approved",
    "DeviceReading",
    "Forget",
    "Health",
    "Message",
    "Named",
    "Offer",
    "Post",
    "Problem",
    "RunEnded",
    "Scopes",
    "Shard",
    "ShardDescription",
]


@dataclass(frozen=True, slots=True)
class Scopes:
    """The numbers by which an event is current or stale.

    Attributes:
        entry: Entry number of the state whose activity this belongs to; grows with every entry in a session.
        run: Number of the experiment run; 0 when there is none.
        link: Epoch of the channel to the director; grows with every dial.

    """

    entry: int = 0
    run: int = 0
    link: int = 0

    def current(self, other: Scopes, scope: Scope) -> bool:
        """Whether an event stamped `self` is current where `other` are the present numbers."""
        if scope is Scope.ACTIVITY:
            return self.entry == other.entry
        if scope is Scope.RUN:
            return self.run == other.run
        if scope is Scope.LINK:
            return self.link == other.link
        if scope is Scope.RUN_AND_LINK:
            return self.run == other.run and self.link == other.link
        return True


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One GPU at one moment, as the wire has it; unknown values stay at zero or empty.

    Attributes:
        index: The device's number as configured and as registered with the director.
        memory_total: Bytes.
        memory_utilized: Bytes.
        device_utilization: For people, for example "37%".
        cuda_driver_version: For example "550.54.15".
        cuda_version: For example "12.4".
        name: For example "NVIDIA A100-SXM4-40GB".

    """

    index: int
    memory_total: int = 0
    memory_utilized: int = 0
    device_utilization: str = ""
    cuda_driver_version: str = ""
    cuda_version: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ShardDescription:
    """What the director is told of the shard, read from the shard descriptor in a child process.

    Attributes:
        sample_shape: Shape of one sample, as the descriptor gives it: a list of decimal strings.
        target_shape: Shape of one target, likewise.
        description: The descriptor's `dataset_description`.

    """

    sample_shape: tuple[str, ...]
    target_shape: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something happened; the base of all, and enough where the event says everything.

    Attributes:
        event: What happened.
        scopes: The numbers it belongs to.

    """

    event: Event
    scopes: Scopes = field(default_factory=Scopes)

    @property
    def cause(self) -> str:
        """Give the words for log and journal; empty when the event says everything."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Message):
    """Something failed.

    Attributes:
        text: One sentence for people.
        code: A short key: a gRPC status name ("UNAVAILABLE"), "timeout", "exit 3", "signal 9".
        detail: The long form (a traceback, an installer's last lines); stays here unless the site allows more.
        summary: The sentence without what an experiment said, where the text has that: what may leave by default.
        digest: SHA-256 of the archive it speaks of; empty where none was complete.

    """

    text: str
    code: str = ""
    detail: str = ""
    digest: str = ""
    summary: str = ""

    @property
    def cause(self) -> str:
        """Give the sentence, after its code."""
        return f"{self.code}: {self.text}" if self.code else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard(Message):
    """`shard_described`: what the director will be told.

    Attributes:
        description: That.
        isolation: How experiments are kept away from this machine, for people; empty where that is not known yet.

    """

    description: ShardDescription
    isolation: str = ""

    @property
    def cause(self) -> str:
        """Say how experiments will run here."""
        return f"isolation: {self.isolation}" if self.isolation else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Message):
    """`health_checked`.

    Attributes:
        period: Seconds until the next check, as the director wants it, clamped.
        readings: The GPU readings that went with the check, in registration order.
        latency: Seconds the director took to answer.
        age: Seconds since those readings were taken; None where there are none.

    """

    period: float
    readings: tuple[DeviceReading, ...] = ()
    latency: float = 0.0
    age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(Message):
    """Base of what is about an experiment's name."""

    experiment: str

    @property
    def cause(self) -> str:
        """Give the name."""
        return repr(self.experiment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(Named):
    """`experiment_offered` and `experiment_reoffered`.

    Attributes:
        unfit: Why this node cannot run anything at the moment, in one sentence; empty when it can.

    """

    unfit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget(Named):
    """`forget_requested`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved(Message):
    """`plan_approved`: exactly this archive, to be run by this engine.

    Attributes:
        digest: SHA-256 of the archive, hexadecimal.
        engine: Name of the engine that the plan asks for.
        install: Whether an environment must be built before training.
        reviewer: Who or what approved, when, why and by what rule; empty where everything is accepted.
        lock: SHA-256 of the locked requirements that were approved with it; empty where none were.
        policy: Digest of the policy that had a part in it; empty where none had.

    """

    digest: str
    engine: str
    install: bool
    reviewer: str = ""
    lock: str = ""
    policy: str = ""

    @property
    def cause(self) -> str:
        """Say who approved what."""
        parts = [self.reviewer or "accepted", f"sha256 {self.digest[:12]}"]
        parts += [f"{name} {digest[:12]}" for name in ("lock", "policy") if (digest := getattr(self, name))]
        return ", ".join((*parts, f"engine {self.engine}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Message):
    """`training_finished`.

    Attributes:
        metrics: The numbers the experiment returned, by name; empty when it returned none.

    """

    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def cause(self) -> str:
        """Give the numbers."""
        return ", ".join(f"{name}={value:.6g}" for name, value in self.metrics.items())


Post = Callable[[Message], None]
"""How an adapter tells the owner thread; thread-safe, never blocks, never raises."""
