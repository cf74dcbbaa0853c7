"""Confines whatever runs code that is not the agent's: the level is found out once, and told wherever it matters."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve

from fedenvoy.cancel import Cancel
from fedenvoy.config import NodeConfig, ShardSource
from fedenvoy.engines.descriptors import import_places
from fedenvoy.engines.interpreters import places_of
from fedenvoy.engines.launch import LOGS, Launch, StartError, launch
from fedenvoy.isolation import Isolation, choose, hidden, shown
from fedenvoy.ports import Confinement
from fedenvoy.processes import MARK

__all__ = ["Confining"]

logger = logging.getLogger(__name__)

_GRACE = 2.0
_PATIENCE = 30.0
"""Seconds that a program which does nothing may take; more than the busiest machine needs."""


class Confining:
    """One node's walls.

    Args:
        config: The node's configuration.
        root: The state directory.
        node_dir: The node's part of it.
        python: The interpreter that experiments run in, if no environment is built for them.
        environ: The environment variables of what is tried.
        limits: What is held to them, as in `ports.RunSpec`.

    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        root: Path,
        node_dir: Path,
        python: Path,
        environ: Mapping[str, str],
        limits: Mapping[str, int],
    ) -> None:
        self._config = config
        self._root = root
        self._node_dir = node_dir
        self._python = python
        self._environ = environ
        self._limits = limits
        self._found: Isolation | None = None
        self._guard = threading.Lock()

    @property
    def known(self) -> Isolation | None:
        """The level, where it has been found out; asks nobody."""
        return self._found

    @property
    def asked(self) -> bool:
        """Whether the site asks for a level: whether the node may start depends on it, then."""
        return self._config.agent.isolation is not None or self._config.agent.run_as is not None

    def isolation(self) -> Isolation:
        """Give the level; the first time, this tries what works, which takes a moment.

        Raises:
            ConfigurationError: What is asked for is not to be had here.

        """
        with self._guard:
            if self._found is None:
                agent = self._config.agent
                self._found = choose(agent.isolation, agent.run_as, self._attempt)
                self._tell(self._found)
            return self._found

    def _tell(self, found: Isolation) -> None:
        if found.level == "process" and self._config.agent.isolation is None:
            logger.warning(
                "experiments run with this agent's own rights, private key included (isolation: process): %s", found.why
            )
        else:
            logger.info("experiments run isolated: %s", found)

    def experiment(self) -> Confinement:
        """Give the walls of an experiment; raises ConfigurationError, as `isolation` does."""
        found = self.isolation()
        if found.level == "process":
            return Confinement()
        config = self._config
        modules = () if isinstance(config.shard, ShardSource) else import_places(config.shard)
        return Confinement(
            level=found.level,
            read=(*shown(config), *map(Path, modules)),
            write=config.agent.sandbox.write,
            hide=hidden(config, self._root, self._node_dir),
            uid=found.uid,
            gid=found.gid,
            gpu=bool(config.cuda_devices) or not config.agent.gpu.hide,
        )

    def description(self) -> Confinement:
        """Give the walls around a shard descriptor that is only looked at, before there is any experiment.

        It is the site's own code, and may have data to fetch and to prepare beside itself, as OpenFL's tutorials do: so
        it has the network, and may write in `agent.home`.
        """
        walls = self.experiment()
        return evolve(walls, network=True, write=(*walls.write, self._config.agent.home.absolute()))

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        read: tuple[Path, ...],
        write: tuple[Path, ...],
        network: bool,
        cancel: Cancel,
    ) -> int:
        """Run a program that is no experiment, confined as one, to its end; as `workspace.installer.Confine` says."""
        found = self.isolation()
        walls = Confinement(
            level=found.level,
            read=(*read, cwd),
            write=write,
            own=write,
            hide=hidden(self._config, self._root, self._node_dir),
            network=network,
            uid=found.uid,
            gid=found.gid,
        )
        place = Path(tempfile.mkdtemp(prefix="fedenvoy-"))
        what = Launch(argv=tuple(argv), cwd=cwd, env=env, confinement=walls, limits=self._limits)
        try:
            ending = launch(what, place, grace=_GRACE, cancel=cancel, token=env.get(MARK, ""))
        finally:
            _append(log, place)
            shutil.rmtree(place, ignore_errors=True)
        kind, _, number = ending.status.partition(" ")
        return int(number) if kind == "exit" else -int(number)

    def _attempt(self, walls: Confinement) -> str:
        place = Path(tempfile.mkdtemp(prefix="fedenvoy-"))
        walls = evolve(walls, read=places_of(self._python))
        argv = (str(self._python), "-I", "-S", "-c", "")
        what = Launch(argv=argv, cwd=Path("/"), env=self._environ, confinement=walls)
        try:
            ending = launch(what, place, grace=_GRACE, cancel=Cancel(), timeout=_PATIENCE)
        except StartError as error:
            return str(error)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        if ending.status == "exit 0":
            return ""
        return f"{self._python} ended with {ending.status} in it: {ending.tail[-300:]}"


def _append(log: Path, place: Path) -> None:
    with log.open("ab") as out:
        for name in LOGS:
            part = place / name
            if part.exists():
                out.write(part.read_bytes())
