"""Write a node's directory: a configuration, a small shard descriptor that works, places for data and certificates."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from fedenvoy.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_workspace"]

_FILES = ("envoy_config.yaml", "shard_descriptor.py", "requirements.txt")
_DIRECTORIES = ("cert", "data", "logs")


def write_workspace(directory: Path, *, replace: bool) -> None:
    """Fill a directory, which is made when it is not there; nothing else in it is touched.

    Args:
        directory: Where to write.
        replace: Whether files of the same names are written anew.

    Raises:
        ConfigurationError: A file is there already, or the directory cannot be written.

    """
    present = [name for name in _FILES if (directory / name).exists()]
    if present and not replace:
        raise ConfigurationError(
            f"{directory}: {', '.join(present)} {'is' if len(present) == 1 else 'are'} there already and would be "
            "lost; name another directory, or replace with --force"
        )
    source = resources.files("fedenvoy") / "templates"
    try:
        for name in _DIRECTORIES:
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "cert").chmod(0o700)
        for name in _FILES:
            (directory / name).write_bytes((source / name).read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{error.filename or directory}: cannot be written: {error.strerror}") from None
