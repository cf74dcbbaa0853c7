"""What a confined experiment sees of the site's own files: its data, and nothing that decides about the node."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedenvoy.config import NodeConfig, ShardSource

__all__ = ["hidden", "shown"]


def shown(config: NodeConfig) -> tuple[Path, ...]:
    """Give what may be read: `agent.home` with what links in it lead to, and the data.

    The data is what `agent.sandbox.read` names; without it, what the shard descriptor's parameters (of an instance: its
    attributes) name as existing absolute paths.
    """
    home = config.agent.home.absolute()
    named = config.agent.sandbox.read
    if named is None:
        shard = config.shard
        values = shard.params if isinstance(shard, ShardSource) else getattr(shard, "__dict__", {})
        named = tuple(_paths(values))
    places = (home, *_led_to(home), *named)
    return tuple(dict.fromkeys(place for place in places if os.path.realpath(place) != "/"))


def hidden(config: NodeConfig, root: Path, node_dir: Path) -> tuple[Path, ...]:
    """Give what is not seen, although it may lie in what may be read: the key, and the state directory.

    Args:
        config: The node's configuration.
        root: The state directory, of all nodes.
        node_dir: This node's part of it.

    """
    home = config.agent.home.absolute()
    within = home.resolve().is_relative_to(root.resolve())
    state = [root] if not within else [place for place in _entries(root) if not _holds(place, home)]
    key = [] if config.tls is None else [config.tls.private_key.absolute()]
    return (*key, *state, node_dir)


def _paths(value: Any) -> Iterator[Path]:
    """Give the existing absolute paths that stand somewhere in a value."""
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        if isinstance(text, str) and text.startswith("/") and "\0" not in text and os.path.lexists(text):
            yield Path(text)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _paths(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _paths(part)


def _led_to(home: Path) -> Iterator[Path]:
    """Give what the links in a directory lead to, as where the data lies on another disk."""
    for place in _entries(home):
        if place.is_symlink() and place.exists():
            yield place.resolve()


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _holds(place: Path, other: Path) -> bool:
    return other.resolve().is_relative_to(place.resolve())
