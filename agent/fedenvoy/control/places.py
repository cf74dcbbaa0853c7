"""Where nodes keep their state on this machine, and which node a directory belongs to.

A node's directory has a name that people can read, made from names that may hold anything; so each says in a small file
of its own whose it is.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedenvoy.logs import escape

__all__ = ["Place", "default_root", "note_place", "places"]

_FILE = "node.json"
_LOCK = "agent.lock"


@dataclass(frozen=True, slots=True)
class Place:
    """One node's state directory.

    Attributes:
        directory: Where it lies.
        shard_name: The node's name; the directory's, where it does not say.
        director: Its director, `host:port`; empty where the directory does not say.

    """

    directory: Path
    shard_name: str
    director: str

    def __str__(self) -> str:
        return escape(f"{self.shard_name} at {self.director}" if self.director else self.shard_name)

    @property
    def options(self) -> str:
        """Give the options of the command line that mean this node and no other."""
        host, _, port = self.director.rpartition(":")
        return escape(f"-n {self.shard_name} -dh {host} -dp {port}")

    def fits(self, shard_name: str | None, host: str | None, port: int | None) -> bool:
        """Whether the node is one that is looked for; None means any."""
        own_host, _, own_port = self.director.rpartition(":")
        return (
            shard_name in {None, self.shard_name}
            and (host is None or host.strip("[]") == own_host.strip("[]"))
            and (port is None or str(port) == own_port)
        )


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Give the state directory where none is configured: $STATE_DIRECTORY (systemd sets it), else the user's."""
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].split(":")[0]).absolute()
    from platformdirs import user_state_path  # noqa: PLC0415 - not needed where a directory is given

    return user_state_path("fedenvoy")


def note_place(place: Place) -> None:
    """Write down whose directory it is; raises OSError where that cannot be written."""
    path = place.directory / _FILE
    text = json.dumps({"shard_name": place.shard_name, "director": place.director}, indent=1) + "\n"
    with contextlib.suppress(OSError, ValueError):
        if path.read_text(encoding="utf-8") == text:
            return
    fresh = path.with_name(f"{_FILE}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def places(root: Path) -> tuple[Place, ...]:
    """Give the nodes that keep their state below a directory, by name; a node's own directory gives that node.

    Raises:
        OSError: The directory is there and cannot be listed.

    """
    if _is_node(root):
        return (_place(root),)
    try:
        candidates = sorted(path for path in root.iterdir() if _is_node(path))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(map(_place, candidates))


def _is_node(directory: Path) -> bool:
    return (directory / _LOCK).exists() or (directory / _FILE).exists()


def _place(directory: Path) -> Place:
    try:
        content = json.loads((directory / _FILE).read_text(encoding="utf-8"))
        return Place(directory, str(content["shard_name"]), str(content["director"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Place(directory, directory.name, "")
