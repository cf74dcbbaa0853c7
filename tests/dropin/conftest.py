"""What OpenFL's users have: a site's directory with the commands in it, and for some tests the real OpenFL 1.6."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dropin.programs import Place
from dropin.sites import NUMBERS
from fedenvoy.demo.deadline import Deadline
from fedenvoy.demo.environment import openfl_environment


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A site with a shard descriptor of its own, no class of OpenFL's, and the smallest configuration."""
    place = Place(tmp_path / "site", tmp_path / "around")
    place.write("numbers_shard.py", NUMBERS)
    place.write("envoy_config.yaml", "shard_descriptor: {template: numbers_shard.NumbersShard}\n")
    return place


@pytest.fixture(scope="session")
def openfl_python() -> Path:
    """The interpreter of an environment that holds OpenFL 1.6 and nothing of fedenvoy; shared with tests/interop."""
    told = os.environ.get("FEDENVOY_INTEROP_CACHE")
    cache = Path(told) if told else Path(__file__).resolve().parents[2] / ".tox" / "interop-openfl16"
    return openfl_environment(cache / "openfl", Deadline(170))
