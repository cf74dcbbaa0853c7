"""What a node is told: its name, its director, its shard, and how it should behave. Frozen, complete, already checked.

Nothing here reads a file; `configfile` turns OpenFL's `envoy_config.yaml` (and our `agent:` section in it) into these
classes, and `Envoy(...)` builds them from its arguments. Durations are in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

__all__ = [
    "PREFIX",
    "UNNAMED",
    "AgentSettings",
    "ArchiveSettings",
    "ChildSettings",
    "DirectorAddress",
    "FetchSettings",
    "GpuRequirements",
    "GpuSettings",
    "HttpSettings",
    "JournalSettings",
    "LinkSettings",
    "NodeConfig",
    "PluginSource",
    "PollSettings",
    "ReportSettings",
    "RequirementsSettings",
    "ReviewSettings",
    "SandboxSettings",
    "ShardSource",
    "TlsFiles",
]


PREFIX = "FEDENVOY_"
"""What the environment variables of settings begin with: `agent.link.tries` is `FEDENVOY_LINK_TRIES`."""

UNNAMED = "unnamed"
"""The shard name in a configuration that is only looked at, where no name was given."""


@frozen
class DirectorAddress:
    """Where the director listens."""

    host: str
    """A name or an address, anything gRPC accepts; IPv6 with or without brackets."""
    port: int
    """1 to 65535."""

    @property
    def target(self) -> str:
        """Give the address as gRPC takes it: IPv6 addresses get their brackets."""
        host = self.host
        bare = ":" in host and not host.startswith("[") and "//" not in host
        return f"[{host}]:{self.port}" if bare else f"{host}:{self.port}"

    def __str__(self) -> str:
        return self.target


@frozen
class TlsFiles:
    """The three PEM files of a mutual TLS connection."""

    root_certificate: Path
    """The federation's certificate authority."""
    private_key: Path
    """This node's key."""
    certificate: Path
    """This node's certificate, signed by the authority; its common name is the shard name."""


@frozen
class ShardSource:
    """A shard descriptor named in the configuration; constructed in child processes only."""

    template: str
    """Dotted path: `module.Class`, imported with `agent.home` first on the path."""
    params: Mapping[str, Any] = field(factory=dict)
    """Keyword arguments of the constructor."""


@frozen
class PluginSource:
    """A plugin named in the configuration (today: `cuda_device_monitor`)."""

    template: str
    """Dotted path: `module.Class`."""
    params: Mapping[str, Any] = field(factory=dict)
    """Keyword arguments of the constructor."""


@frozen
class LinkSettings:
    """How the director is called (`agent.link`)."""

    tries: int = 5
    """Rejections in a row (TLS, credentials, protocol) before the agent ends."""
    call_timeout: float = 10.0
    """Deadline of each short call, seconds."""
    settle: float = 30.0
    """Seconds that a link must live before its end counts as the first failure again."""
    on_refused: str = "retry"
    """`retry` or `exit`: what to do when the director does not accept the shard."""
    proxy: bool = True
    """Whether the proxy variables of the environment apply to the director."""


@frozen
class PollSettings:
    """How offers are waited for (`agent.poll`)."""

    tries: int = 5
    """Failed polls in a row before the link counts as lost."""
    timeout: float = 300.0
    """Deadline of one long poll, seconds; varied by 20 % each time."""


@frozen
class FetchSettings:
    """How archives are downloaded (`agent.fetch`)."""

    tries: int = 3
    """Cut downloads of one experiment before it counts as failed."""
    idle_timeout: float = 60.0
    """Seconds without progress after which a download counts as cut; 0: for ever."""
    min_rate: int = 1024
    """Bytes per second that count as progress: fewer, and `idle_timeout` runs on; 0: a single byte is progress."""
    timeout: float = 24 * 3600.0
    """Seconds that one download may take in all; 0: as long as it makes progress."""


@frozen
class ArchiveSettings:
    """Bounds on what an archive may be (`agent.archive`); 0 means none."""

    max_bytes: int = 4 * 2**30
    """Size on the wire."""
    max_unpacked_bytes: int = 16 * 2**30
    """Size of all files together when unpacked."""
    max_entries: int = 100_000
    """Number of files and directories."""
    max_ratio: float = 1000.0
    """Unpacked size against packed size, for archives that unpack to more than 16 MiB."""
    max_file_bytes: int = 8 * 2**30
    """Size of one file when unpacked."""
    max_path: int = 1024
    """Bytes of one path in the archive, in UTF-8."""
    max_depth: int = 64
    """Parts of one path: the directories and the name in the last one."""


@frozen
class ReviewSettings:
    """Who decides about an experiment (`agent.review`)."""

    mode: str = "accept"
    """`accept`: everything; `prompt`: who sits at the terminal is asked; `policy`: the rules of a file decide; `hold`:
    everything waits for `fedenvoy review approve`; `callback`, from Python only: `Envoy(review_plan_callback=...)`."""
    policy: Path | None = None
    """The file of rules, read anew for each experiment; one that cannot be read lets everything wait."""
    timeout: float = 24 * 3600.0
    """Seconds after which an unanswered review counts as rejected."""
    required_approvals: int = 1
    """How many people must approve what waits; one that rejects is enough."""
    notify: tuple[str, ...] = ()
    """A command, as a list of words, that is run once when something waits; it gets what `review list` knows of it on
    its standard input, as JSON."""
    webhook: str | None = None
    """A URL that gets the same by HTTP POST."""
    group: str | None = None
    """A unix group whose members may look at what waits, approve and reject, each as himself; default: nobody but the
    node's own user and root."""
    keep: int = 2**30
    """Bytes of archives that are kept after they were approved, the last of each name, to tell what changed in the
    next; 0: none."""


@frozen
class RequirementsSettings:
    """How an experiment's environment is built (`agent.requirements`)."""

    site: Path | None = None
    """The site's own requirements file, added to every environment; default: `requirements.txt` or
    `sd_requirements.txt` beside the configuration."""
    inherit: bool | None = None
    """Whether the node's packages stay visible behind the environment's; default: when a shard descriptor is set."""
    mode: str = "install"
    """`install`: whatever the experiment asks for; `hashes-required`: only what the archive's own requirements give a
    hash for; `offline`: only what lies in `wheels`, no index is asked; `off`: nothing is installed, as with
    `params.install_requirements: false`."""
    wheels: Path | None = None
    """The directory of packages that mode `offline` installs from."""
    indexes: tuple[str, ...] = ()
    """The only package indexes, link pages and addresses that may be used, each with all below it; the first one is
    used where nobody asks for another. Empty: any."""
    timeout: float = 1800.0
    """Seconds an installation may take."""
    max_environment_bytes: int = 16 * 2**30
    """Size of one environment, and of what is fetched for it; 0: no limit."""
    keep: float = 30 * 24 * 3600.0
    """Seconds since its last use after which an environment is removed, when room is needed for a new one; 0: never."""
    max_bytes: int = 64 * 2**30
    """Size of all environments together; beyond it, those that nobody used for longest are removed. 0: no limit."""


@frozen
class ChildSettings:
    """What an experiment's processes may use (`agent.child`); 0 means no limit."""

    memory: int = 0
    """Bytes of memory, all its processes together."""
    processes: int = 4096
    """Processes and threads at one time."""
    open_files: int = 8192
    """Files that one process may have open at a time."""
    workspace: int = 64 * 2**30
    """Bytes that the run's directory may grow to (the archive and its files, and whatever is written); each file counts
    16 KiB at least. No single file may be larger either."""
    output: int = 5 * 2**20
    """Bytes that are kept of what it prints: a fifth of its beginning, the rest of its end."""
    log_retention: float = 30 * 24 * 3600.0
    """Seconds that what an experiment printed is kept after its end, of the last 20; 0: it goes with the run."""
    nice: int = 0
    """How much other programs on this machine go before it: 0 to 19."""
    env: tuple[str, ...] = ()
    """Environment variables that it gets beside the usual ones: names, with the agent's values, or `NAME=value`."""


@frozen
class SandboxSettings:
    """What a confined experiment sees of this machine, besides programs and libraries (`agent.sandbox`)."""

    read: tuple[Path, ...] | None = None
    """Files and directories with data that it may read, beside `agent.home`; default: what the shard descriptor's
    parameters name as existing absolute paths."""
    write: tuple[Path, ...] = ()
    """Directories that it may write, and that stay from one experiment to the next: a cache of models, say. What one
    leaves there, the next one finds."""


@frozen
class GpuRequirements:
    """What each of the `cuda_devices` must offer before an experiment begins (`agent.gpu.require`)."""

    min_free_memory: int = 0
    """Bytes of its memory that are free; 0: any."""
    max_temperature: float = 0.0
    """Degrees Celsius that it may have; 0: any."""
    no_ecc_errors: bool = False
    """Whether uncorrected memory errors since the driver was loaded, or memory that waits for a reset, keep an
    experiment from beginning. A GPU without such counters has no errors."""
    exclusive: bool = False
    """Whether no other process may compute on it; other agents on this machine then keep off it while an experiment
    runs."""

    @property
    def any(self) -> bool:
        """Whether something is asked of the monitor."""
        return bool(self.min_free_memory or self.max_temperature or self.no_ecc_errors or self.exclusive)


@frozen
class GpuSettings:
    """GPU monitoring (`agent.gpu`)."""

    hide: bool = False
    """With no `cuda_devices`: whether the experiment sees no GPU at all instead of all of them."""
    interval: float = 5.0
    """Seconds between two samples."""
    deadline: float = 10.0
    """Seconds that a sample may take; after that the driver counts as hung, and what was read last as old."""
    unfit: str = "wait"
    """What becomes of an offer while a GPU does not fulfil `require`, or another agent has it for itself: `wait`: it is
    declined until it can be run; `fail`: the director is told that it failed here."""
    lock_dir: Path | None = None
    """Where the agents of this machine lock the GPUs that their experiments use; all of them must be able to write
    there. Default: `/run/lock/fedenvoy` where that can be written, else the state directory."""
    require: GpuRequirements = field(factory=GpuRequirements)


@frozen
class ReportSettings:
    """How verdicts are told (`agent.report`)."""

    detail: str = "summary"
    """What leaves the site of a failure. `full`: the whole text, with traceback. `summary`: this node's own sentence,
    with the exception's type and the line of the archive that raised it, without its text, and without the site's paths
    and addresses. `code`: the code alone. The node's own log always has the text."""
    tries: int = 5
    """Failed deliveries in a row, with the link up, before a report is put off."""
    retention: float = 7 * 24 * 3600.0
    """Seconds after which an undelivered report is given up, with a record of the loss."""


@frozen
class HttpSettings:
    """What monitoring systems can ask this node (`agent.http`)."""

    listen: tuple[str, int] | None = None
    """Where `/metrics`, `/healthz`, `/readyz` and `/status.json` are served: a port of this machine alone (`9464`), or
    an address and a port (`0.0.0.0:9464`, `[::]:9464`). Nobody is asked who they are there. Default: nowhere."""


@frozen
class JournalSettings:
    """How long transitions are kept (`agent.journal`); 0 means without a bound. The present session's all are."""

    records: int = 200_000
    """Records kept; the oldest are removed first."""
    days: int = 400
    """Days that a record is kept."""


@frozen
class AgentSettings:
    """The `agent:` section: everything that OpenFL's file does not know."""

    home: Path = field(factory=Path.cwd)
    """The directory `fedenvoy start` was run in: the child's first working directory and first import path."""
    state_dir: Path | None = None
    """Where journal, outbox, environments and runs live; default: $STATE_DIRECTORY, else the user's state directory."""
    python: Path | None = None
    """Interpreter of the experiments; default: the agent's own."""
    isolation: str | None = None
    """How far experiments are kept away from this machine: `process` (not at all: each holds this node's private key),
    `sandbox`, or `user` (a sandbox, as the user `run_as`); default: the strongest that works here. See
    [isolation](isolation.md)."""
    run_as: str | None = None
    """The user that experiments run as, `user` or `user:group`; for an agent that runs as root."""
    on_stop: str = "leave"
    """`leave`: the run is taken up again after a restart; `report`: the director is told that it was cancelled."""
    on_interrupted: str = "resume"
    """What becomes of an experiment that was in hand when the agent ended without an orderly stop (killed, a power cut,
    a second signal, a full disk): `resume`: it is taken up when the director offers it again; `fail`: the director is
    told at the next start that it failed."""
    drain_timeout: float = 600.0
    """Seconds a training may go on after a stop was requested."""
    stop_timeout: float = 10.0
    """Seconds a delivery may take after a stop was requested."""
    on_director_loss: float | None = None
    """`continue`, the default: a run goes on without the director; `stop_after: 30m`: it is given up when the director
    was away that long."""
    orphan_timeout: float = 120.0
    """Seconds a restarted director has to offer a running experiment again."""
    aggregator_timeout: float = 600.0
    """Seconds that an OpenFL experiment goes on without an answer of its aggregator; 0: for ever."""
    max_run_time: float = 0.0
    """Seconds that an experiment's process may run; 0: as long as it wants."""
    kill_grace: float = 10.0
    """Seconds between asking an experiment's process to end and ending it."""
    link: LinkSettings = field(factory=LinkSettings)
    poll: PollSettings = field(factory=PollSettings)
    fetch: FetchSettings = field(factory=FetchSettings)
    archive: ArchiveSettings = field(factory=ArchiveSettings)
    review: ReviewSettings = field(factory=ReviewSettings)
    requirements: RequirementsSettings = field(factory=RequirementsSettings)
    child: ChildSettings = field(factory=ChildSettings)
    sandbox: SandboxSettings = field(factory=SandboxSettings)
    gpu: GpuSettings = field(factory=GpuSettings)
    report: ReportSettings = field(factory=ReportSettings)
    journal: JournalSettings = field(factory=JournalSettings)
    http: HttpSettings = field(factory=HttpSettings)


@frozen
class NodeConfig:
    """All a node needs to know."""

    shard_name: str
    """The name under which the director knows this node."""
    director: DirectorAddress
    shard: ShardSource | object
    """A source (constructed in children) or a live descriptor instance (sent to children by value)."""
    tls: TlsFiles | None = None
    """None: plain text."""
    install_requirements: bool = True
    """Whether the experiment's requirements are installed, into an environment of its own."""
    cuda_devices: Sequence[int | str] = ()
    """The GPUs offered, in registration order."""
    cuda_device_monitor: PluginSource | object | None = None
    """The user's own GPU monitor; None: nvidia-ml-py when `cuda_devices` is set."""
    agent: AgentSettings = field(factory=AgentSettings)
