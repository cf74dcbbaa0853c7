"""How commands read a node's configuration: as seen from the current directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedenvoy.errors import ConfigurationError

if TYPE_CHECKING:
    from fedenvoy.config import NodeConfig

__all__ = ["load"]


def load(
    *,
    shard_name: str | None,
    director_host: str | None,
    director_port: int | None,
    config_path: Path,
    state_dir: Path | None = None,
    **arguments: Any,
) -> NodeConfig:
    """Read the configuration that a command's arguments name; the others are those of `configfile.load`.

    Args:
        shard_name: The node's name; None: it is only looked at.
        director_host: Where its director listens; None as above.
        director_port: As above.
        config_path: The file.
        state_dir: Wins over the file's `agent.state_dir`.
        arguments: Handed on.

    Raises:
        ConfigurationError: With every problem, or because there is no current directory.

    """
    from fedenvoy import configfile  # noqa: PLC0415 - slow, and wanted by some commands only
    from fedenvoy.config import UNNAMED, DirectorAddress  # noqa: PLC0415

    try:
        home = Path.cwd()
    except FileNotFoundError:
        raise ConfigurationError("the current directory does not exist any more; change into the node's") from None
    director = DirectorAddress(director_host or "localhost", director_port or 1)
    name = shard_name or UNNAMED
    config = configfile.load(
        config_path, shard_name=name, director=director, home=home, environ=os.environ, **arguments
    )
    if state_dir is None:
        return config
    import attrs  # noqa: PLC0415 - as above

    return attrs.evolve(config, agent=attrs.evolve(config.agent, state_dir=home / state_dir))
