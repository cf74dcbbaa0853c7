"""The shapes of the parts that meet in `app`: what each adapter offers to the others, as protocols without code.

Adapters know these and the leaves (events, commands, config, errors), and nothing of one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from attrs import field, frozen

from fedenvoy.events import DeviceReading, ShardDescription

__all__ = [
    "Call",
    "Confinement",
    "DirectorPort",
    "Engine",
    "EngineNeeds",
    "ExperimentFiles",
    "GpuProbe",
    "HealthPort",
    "HealthReply",
    "RunSpec",
]


@frozen
class HealthReply:
    """The director's answer to a health check."""

    period: float
    """Seconds until the next one: clamped to 1 s .. 1 h; the last known one where the director sent none."""


class Call(Protocol):
    """A call under way that another thread may cancel."""

    def cancel(self) -> None:
        """End it; its waiter gets `CallCancelled`. Thread-safe; harmless when it is over."""


class HealthPort(Protocol):
    """What the health monitor needs of a channel."""

    def health_check(self, *, running: bool, readings: Sequence[DeviceReading]) -> HealthReply:
        """Tell that this node lives; has a deadline and raises `calls.CallError`."""


class DirectorPort(HealthPort, Protocol):
    """One channel to the director, of one epoch. Every call has a deadline and raises `calls.CallError`."""

    @property
    def period(self) -> float:
        """Seconds between health checks, as the director last said."""

    def register(self, shard: ShardDescription, devices: Sequence[int | str]) -> bool:
        """Tell the shard; give the director's answer."""

    def poll_ahead(self) -> None:
        """Issue the first poll now, without waiting; the next `wait_experiment` goes on with it. Raises nothing."""

    def wait_experiment(self, on_call: Callable[[Call], object]) -> str:
        """Wait until an experiment is offered, re-issuing the poll at its deadline; give its name."""

    def experiment_data(self, experiment: str, on_call: Callable[[Call], object]) -> Iterator[bytes | memoryview]:
        """Stream the archive's chunks; each is checked against the size it states."""

    def experiment_failed(self, experiment: str, code: int, text: str) -> None:
        """Tell that an experiment failed or was rejected here."""

    def close(self) -> None:
        """End all calls and the channel; harmless when repeated."""


class GpuProbe(Protocol):
    """Reads GPUs; the shape of OpenFL's `CUDADeviceMonitor`."""

    def get_driver_version(self) -> str:
        """Give the driver's version."""

    def get_cuda_version(self) -> str:
        """Give the highest CUDA version that the driver supports."""

    def get_device_name(self, index: Any) -> str:
        """Give the product name."""

    def get_device_memory_total(self, index: Any) -> int:
        """Give bytes."""

    def get_device_memory_utilized(self, index: Any) -> int:
        """Give bytes."""

    def get_device_utilization(self, index: Any) -> str:
        """Give a text for people."""


@frozen
class ExperimentFiles:
    """An archive after intake."""

    archive: Path
    """The file as received."""
    digest: str
    """Its SHA-256, hexadecimal."""
    workspace: Path
    """The directory it was unpacked into."""
    plan: Mapping[str, Any]
    """The content of plan/plan.yaml."""
    plan_path: Path
    """Absolute path of the plan."""
    requirements: str
    """The lines of requirements.txt that ask for something; empty when there are none."""


@frozen
class EngineNeeds:
    """What an engine wants in the experiment's environment."""

    packages: tuple[str, ...] = ()
    """Requirement lines, unless the experiment or the site pins them already."""


@frozen
class Aggregator:
    """Whom an engine's program talks to while it runs, according to the approved plan."""

    host: str
    """Name or address, without brackets."""
    port: int
    tls: bool = True
    """Whether the connection is encrypted, with this node's certificates."""
    client_auth: bool = True
    """Whether this node's certificate is shown."""

    def __str__(self) -> str:
        """Give host and port as a URI has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class Confinement:
    """What an experiment's process, and all that descends from it, may see of this machine."""

    level: str = "process"
    """`process`: all that the agent may; `sandbox`: what is named here; `user`: that, as a user of its own."""
    read: tuple[Path, ...] = ()
    """Files and directories it may read, besides the system's programs and libraries; absolute."""
    write: tuple[Path, ...] = ()
    """Files and directories it may write; absolute."""
    hide: tuple[Path, ...] = ()
    """Files and directories it does not see, although they lie in what it may read; what is named deeper, it does."""
    own: tuple[Path, ...] = ()
    """What is given to the user it runs as (level `user`), with all below it; absolute."""
    network: bool = False
    """Whether it has the machine's network; False: it reaches itself only, and its relay."""
    uid: int | None = None
    """The user it runs as (level `user`); None: the agent's."""
    gid: int | None = None
    """The group it runs as (level `user`); None: the agent's."""
    gpu: bool = False
    """Whether it sees the machine's GPUs."""


@frozen
class RunSpec:
    """All that a child process gets, written to its specification file as JSON."""

    run_dir: Path
    """Directory of this run: specification, log, result."""
    workspace: Path
    """The unpacked archive."""
    home: Path
    """The first working directory and import path."""
    shard_name: str
    shard: Mapping[str, Any]
    """How to get the descriptor: `{"template", "params"}` or `{"pickle": path}`."""
    devices: tuple[Any, ...] = ()
    """What `set_available_devices(cuda=...)` gets."""
    plan_path: Path | None = None
    tls: Mapping[str, str] | None = None
    """Paths of root_certificate, private_key and certificate; None: plain text, or through `relay`."""
    aggregator_timeout: float = 0.0
    """Seconds without an answer of the aggregator after which an engine that has one gives up; 0: never."""
    confinement: Confinement | None = None
    """How much of the machine it sees; None: as much as the agent."""
    groups: tuple[str, ...] = ()
    """Control groups to live in, as paths; where there are any, they bound memory and processes."""
    limits: Mapping[str, int] = field(factory=dict)
    """Bounds by name, for `engines/child/limits.py`."""
    relay: str | None = None
    """Path of the unix socket that leads to the aggregator; then `tls` is None. None: the child dials itself."""
    aggregator: str = ""
    """Host and port that the relay leads to."""


class Engine(Protocol):
    """What Training runs; found through the entry-point group `fedenvoy.engines`, constructed without arguments."""

    name: str

    def claims(self, plan: Mapping[str, Any]) -> bool:
        """Whether a plan that names no engine is meant for this one."""

    def check(self, plan: Mapping[str, Any], workspace: Path) -> None:
        """Raise ValueError, in one sentence, when the plan cannot be run."""

    def needs(self, plan: Mapping[str, Any]) -> EngineNeeds:
        """Say what the experiment's environment must hold."""

    def program(self) -> Path:
        """Give the path of the stand-alone script that the child's bootstrap runs (see `engines/child`)."""


@runtime_checkable
class TalkingEngine(Protocol):
    """An engine whose program talks to somebody; another one's program reaches nobody where it is confined."""

    def aggregator(self, plan: Mapping[str, Any]) -> Aggregator | None:
        """Say whom the plan has it talk to; None: nobody. Raises ValueError, in one sentence, where that is open."""
