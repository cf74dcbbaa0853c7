"""What several tests of real children and real environments begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.children import SHARD, Pipe
from support.environments import Node, make_wheels


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's directory with a shard descriptor in it."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "shard.py").write_text(SHARD)
    return home


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    """A pipe that children write to."""
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.close()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A directory of packages to install."""
    return make_wheels(tmp_path / "wheels")


@pytest.fixture
def node(tmp_path: Path, wheels: Path) -> Node:
    """Environments that are built from these packages."""
    return Node(tmp_path, wheels)
