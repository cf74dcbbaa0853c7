"""What this node gives to every experiment: directories, interpreter, environments, its shard, its reviewer."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedenvoy.app.confining import Confining
from fedenvoy.app.hosting import Hosting
from fedenvoy.cancel import Cancel
from fedenvoy.config import NodeConfig, ReviewSettings, ShardSource
from fedenvoy.control.places import default_root
from fedenvoy.engines.descriptors import describe, describe_instance, pickle_descriptor
from fedenvoy.engines.openfl import OpenflEngine
from fedenvoy.errors import ConfigurationError, ShardError
from fedenvoy.events import ShardDescription
from fedenvoy.ports import EngineNeeds, ExperimentFiles, RunSpec

if TYPE_CHECKING:
    from fedenvoy.app.gpus import Gpus
    from fedenvoy.ports import Engine
    from fedenvoy.review.holds import Holds
    from fedenvoy.workspace.environments import Environments, Locked

__all__ = ["Site", "node_directory", "state_root"]

logger = logging.getLogger(__name__)


def state_root(config: NodeConfig, environ: Mapping[str, str] = os.environ) -> Path:
    """Give the state directory: what is configured, else $STATE_DIRECTORY (systemd sets it), else the user's."""
    if config.agent.state_dir is not None:
        return config.agent.state_dir.absolute()
    return default_root(environ)


def node_directory(config: NodeConfig, environ: Mapping[str, str] = os.environ) -> Path:
    """Give the directory of this director and shard name inside the state directory.

    Names become path components only after everything unusual was taken out of them; a digest keeps them apart.
    """
    identity = f"{config.director.target}\n{config.shard_name}"
    digest = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{config.shard_name[:40]}@{config.director.target[:60]}")
    return state_root(config, environ) / f"{readable.lstrip('.') or 'node'}-{digest}"


class Site:
    """One node's standing arrangements.

    Args:
        config: The node's configuration.
        session: Id of this session.
        review: The reviewer; None accepts everything.
        environ: The environment variables to hand on.

    Raises:
        ConfigurationError: The review's settings name somebody or something that is not there.

    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        session: str,
        review: Callable[[str, str], Any] | None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        _check_review(config.agent.review, asked=review is not None)
        self.config = config
        self.session = session
        self.review = review
        self.environ = dict(environ)
        self.root = state_root(config, environ)
        self.node_dir = node_directory(config, environ)
        self.python = config.agent.python or Path(sys.executable)
        self.installs = config.install_requirements and config.agent.requirements.mode != "off"
        self.requirements = config.agent.requirements.site if self.installs else None
        self.gpus: Gpus | None = None
        """The node's GPUs; set where the node is built, so that a site can be had without any."""

    @cached_property
    def environments(self) -> Environments:
        """The environments built on this machine; uv is not looked for until one is wanted."""
        from fedenvoy.workspace.environments import Environments  # noqa: PLC0415

        settings = self.config.agent.requirements
        return Environments(
            self.root, settings, self.config.agent.python, environ=self.environ, confine=self.confining.run
        )

    def lock(self, files: ExperimentFiles, engine: Engine, cancel: Cancel) -> Locked:
        """Say what would be installed for an experiment; raises RequirementsError, which names whose fault it is."""
        with self._blaming(files):
            return self.environments.lock(
                requirements=files.requirements,
                site=self.requirements,
                needs=engine.needs(files.plan),
                workspace=files.workspace,
                inherit=self.inherit,
                cancel=cancel,
            )

    def build(self, files: ExperimentFiles, engine: Engine, locked: Locked | None, cancel: Cancel) -> Path:
        """Give the interpreter of an experiment's environment; raises as `lock`.

        Args:
            files: The experiment's.
            engine: Its engine.
            locked: What was approved, if anybody was asked.
            cancel: Kills the installer.

        """
        with self._blaming(files):
            return self.environments.build(
                requirements=files.requirements,
                site=self.requirements,
                needs=engine.needs(files.plan),
                workspace=files.workspace,
                inherit=self.inherit,
                cancel=cancel,
                locked=locked,
            )

    @contextmanager
    def _blaming(self, files: ExperimentFiles) -> Iterator[None]:
        """Take the blame where the experiment asks for nothing: what cannot be had is the site's or the engine's."""
        from fedenvoy.workspace.environments import RequirementsError  # noqa: PLC0415 - as above

        try:
            yield
        except RequirementsError as error:
            if files.requirements or error.kind not in {"resolution", "other", "refused"}:
                raise
            raise RequirementsError(str(error), "environment", error.tail) from error

    @property
    def reviews(self) -> bool:
        """Whether anything may have to wait for people here."""
        return self.config.agent.review.mode in {"policy", "hold"}

    @property
    def run_as(self) -> int | None:
        """The user that experiments run as; None: this one."""
        return self.confining.isolation().uid

    @cached_property
    def confining(self) -> Confining:
        """The walls around whatever runs code that is not the agent's."""
        return Confining(
            self.config,
            root=self.root,
            node_dir=self.node_dir,
            python=self.python,
            environ=self.hosting.environment_to_describe,
            limits=self.hosting.limits,
        )

    @cached_property
    def holds(self) -> Holds:
        """What waits here for people to decide about it."""
        from fedenvoy.review.holds import Holds  # noqa: PLC0415 - not for a node that accepts everything

        return Holds(self.node_dir / "reviews", self.config.agent.review)

    @cached_property
    def hosting(self) -> Hosting:
        """What experiments' processes get beside their files."""
        return Hosting(self.config, self.environ, self.node_dir)

    @property
    def inherit(self) -> bool:
        """Whether the node's packages stay visible behind an environment's own."""
        wanted = self.config.agent.requirements.inherit
        return True if wanted is None else wanted

    def describe(self, cancel: Cancel, meanwhile: Callable[[], object] = lambda: None) -> ShardDescription:
        """Construct the shard descriptor in a child (an instance: in place) and read its shapes.

        Args:
            cancel: Ends the child.
            meanwhile: Called once the child runs: something short to do beside it.

        Raises:
            ShardError: It cannot be constructed, described, or sent to an experiment's process.

        """
        shard = self.config.shard
        if not isinstance(shard, ShardSource):
            pickle_descriptor(shard, self.node_dir / "shard.pickle")
            return describe_instance(shard)
        return describe(
            shard,
            self.config.agent.home,
            self._python_for_shard(cancel),
            cancel,
            env=self.hosting.environment_to_describe,
            meanwhile=meanwhile,
            confinement=self.confining.description(),
        )

    def has_installed(self, packages: tuple[str, ...] = ()) -> bool:
        """Whether the node's own interpreter has what the site requires, and these requirements, without installing.

        As after a `pip install -r requirements.txt`, which is how OpenFL's users prepare a node; it then works without
        a network, too.
        """
        from fedenvoy.workspace.environments import satisfied  # noqa: PLC0415 - as above

        return (self.inherit or self.requirements is None) and satisfied(self.python, packages, self.requirements)

    def _python_for_shard(self, cancel: Cancel) -> Path:
        """Give an interpreter that has what the site requires: the node's own, or an environment's.

        Where the node has OpenFL, the environment is the one of an OpenFL experiment without requirements: the shard is
        described as it will be used, and not with, say, a NumPy that OpenFL cannot bear.
        """
        if self.requirements is None or self.has_installed():
            return self.python
        from fedenvoy.workspace.environments import RequirementsError, satisfied  # noqa: PLC0415 - as above

        likely = OpenflEngine().needs({}) if satisfied(self.python, ("openfl",)) else EngineNeeds()
        try:
            try:
                return self._environment_for_shard(likely, cancel)
            except RequirementsError as error:
                if error.kind != "resolution" or not likely.packages:
                    raise
                return self._environment_for_shard(EngineNeeds(), cancel)
        except RequirementsError as error:
            raise ShardError(
                f"what the shard descriptor needs according to {self.requirements} cannot be installed: {error}; "
                "correct that file, name another in agent.requirements.site, or set params.install_requirements: false"
            ) from error

    def _environment_for_shard(self, needs: EngineNeeds, cancel: Cancel) -> Path:
        return self.environments.build(
            requirements="",
            site=self.requirements,
            needs=needs,
            workspace=self.config.agent.home,
            inherit=self.inherit,
            cancel=cancel,
        )

    def run_spec(self, run_dir: Path, files: ExperimentFiles) -> RunSpec:
        """Give all that a child process gets."""
        from fedenvoy.engines.process import visible_devices  # noqa: PLC0415 - here an experiment is at hand

        shard, tls = self.config.shard, self.config.tls
        return RunSpec(
            run_dir=run_dir,
            workspace=files.workspace,
            home=self.config.agent.home,
            shard_name=self.config.shard_name,
            shard={"template": shard.template, "params": dict(shard.params)}
            if isinstance(shard, ShardSource)
            else {"pickle": str(self.node_dir / "shard.pickle")},
            devices=visible_devices(self.config.cuda_devices),
            plan_path=files.plan_path,
            tls=None
            if tls is None
            else {
                "root_certificate": str(tls.root_certificate),
                "private_key": str(tls.private_key),
                "certificate": str(tls.certificate),
            },
            aggregator_timeout=self.config.agent.aggregator_timeout,
            confinement=self.confining.experiment(),
            limits=self.hosting.limits,
        )


def _check_review(settings: ReviewSettings, *, asked: bool) -> None:
    """Make sure that whoever is to decide is there: nothing is accepted because nobody could be asked."""
    if settings.mode in {"prompt", "callback"} and not asked:
        raise ConfigurationError(
            f"agent.review.mode is {settings.mode}, but nobody was given who could be asked: "
            "Envoy(review_plan_callback=...)"
        )
    if settings.mode == "policy" and settings.policy is None:
        raise ConfigurationError("agent.review.mode is policy, but agent.review.policy names no file of rules")
    if settings.mode not in {"accept", "prompt", "callback", "policy", "hold"}:
        raise ConfigurationError(f"agent.review.mode: {settings.mode!r} is no way to review")
