"""What an experiment's process gets of this node beside its files: variables, limits, a place for what it printed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from attrs import evolve

from fedenvoy.config import NodeConfig
from fedenvoy.engines import groups
from fedenvoy.engines.variables import child_environment, dropped
from fedenvoy.ports import RunSpec
from fedenvoy.workspace.logs import keep_log

__all__ = ["Hosting"]

logger = logging.getLogger(__name__)


class Hosting:
    """The arrangements of one node for the processes of experiments and shard descriptors.

    Args:
        config: The node's configuration.
        environ: The agent's own environment variables.
        node_dir: The node's directory.

    """

    def __init__(self, config: NodeConfig, environ: Mapping[str, str], node_dir: Path) -> None:
        self._config = config
        self._environ = environ
        self._node_dir = node_dir

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """The variables of an experiment. The first look at them logs the names of those that none gets."""
        more = self._config.agent.child.env
        if left := dropped(self._environ, more):
            logger.info(
                "environment variables that experiments do not get, unless agent.child.env names them: %s",
                ", ".join(left),
            )
        hide = self._config.agent.gpu.hide
        return child_environment(self._environ, self._config.cuda_devices, hide=hide, more=more)

    @cached_property
    def environment_to_describe(self) -> Mapping[str, str]:
        """The variables of a shard descriptor that is only looked at."""
        return child_environment(self._environ, more=self._config.agent.child.env)

    @cached_property
    def limits(self) -> Mapping[str, int]:
        """What an experiment is held to, by the names that `engines/child/limits.py` knows; 0: no limit."""
        child = self._config.agent.child
        return {
            "memory": child.memory,
            "processes": child.processes,
            "open_files": child.open_files,
            "workspace": child.workspace,
            "output": child.output,
            "nice": child.nice,
        }

    @cached_property
    def _groups(self) -> Path | None:
        """Where runs may have control groups, if memory is bounded and the system lets them."""
        return groups.find() if self._config.agent.child.memory else None

    @contextmanager
    def grouped(self, spec: RunSpec) -> Iterator[RunSpec]:
        """Give a run a control group for the length of a block, where it may have one."""
        with groups.group(self._groups, spec.run_dir.name, spec.limits) as found:
            yield evolve(spec, groups=found)

    def keep(self, run_dir: Path, words: str = "") -> Path | None:
        """Keep what a run printed, with what became of it; give the place, None where there is none."""
        return keep_log(self._node_dir, run_dir, words, retention=self._config.agent.child.log_retention)
