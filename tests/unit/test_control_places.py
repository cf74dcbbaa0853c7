"""Which nodes keep their state on this machine, and which one is meant."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fedenvoy.app.site import node_directory
from fedenvoy.config import DirectorAddress
from fedenvoy.control.places import Place, default_root, note_place, places
from support.agents import config as node_config


def node(root: Path, shard_name: str, director: str, directory: str = "") -> Place:
    place = Place(root / (directory or f"{shard_name}-{director}".replace("/", "_")), shard_name, director)
    place.directory.mkdir(parents=True)
    note_place(place)
    return place


def test_a_node_s_names_come_back_as_they_were(tmp_path: Path) -> None:
    names = [("hospital 1/ward", "[::1]:50051"), ("größer", "d:1"), ("x\x1b[31m", "d:2"), ("\udcff", "d:3")]
    made = {node(tmp_path, name, director, str(number)) for number, (name, director) in enumerate(names)}
    assert set(places(tmp_path)) == made
    assert all(str(place).isprintable() for place in made)


def test_other_directories_are_no_nodes(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "file").write_text("")
    mine = node(tmp_path, "one", "d:1")
    assert places(tmp_path) == (mine,)
    assert places(tmp_path / "not there") == ()
    assert places(tmp_path / "file") == ()


def test_a_node_s_own_directory_gives_that_node(tmp_path: Path) -> None:
    node(tmp_path, "one", "d:1")
    two = node(tmp_path, "two", "d:1")
    assert places(two.directory) == (two,)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "null", '{"shard_name": "x"'])
def test_a_directory_that_does_not_say_whose_it_is_is_known_by_its_name(tmp_path: Path, content: str | None) -> None:
    directory = node_directory(node_config(DirectorAddress("director.example", 50051), tmp_path, shard_name="one"))
    directory.mkdir(parents=True)
    (directory / "agent.lock").write_text("12\n")
    if content is not None:
        (directory / "node.json").write_text(content)
    (place,) = places(tmp_path)
    assert place.shard_name == directory.name
    assert place.director == ""
    assert str(place) == directory.name
    assert place.fits(None, None, None)


def test_noting_the_same_again_writes_nothing(tmp_path: Path) -> None:
    place = node(tmp_path, "one", "d:1")
    file = place.directory / "node.json"
    before = file.stat()
    note_place(place)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert file.stat().st_ino == before.st_ino
    note_place(Place(place.directory, "one", "d:2"))
    assert json.loads(file.read_text())["director"] == "d:2"
    assert [path.name for path in place.directory.iterdir()] == ["node.json"]


@pytest.mark.parametrize(
    ("which", "fits"),
    [
        ((None, None, None), True),
        (("one", None, None), True),
        (("two", None, None), False),
        (("one", "::1", 50051), True),
        (("one", "[::1]", None), True),
        ((None, None, 50051), True),
        ((None, None, 5005), False),
        ((None, "d", None), False),
    ],
)
def test_which_node_is_meant(which: tuple[str | None, str | None, int | None], fits: bool) -> None:
    assert Place(Path("/x"), "one", "[::1]:50051").fits(*which) is fits


def test_the_state_directory_where_none_is_named(tmp_path: Path) -> None:
    assert default_root({"STATE_DIRECTORY": f"{tmp_path}:/other"}) == tmp_path
    assert default_root({}).name == "fedenvoy"
    assert default_root({"STATE_DIRECTORY": "relative"}) == Path(os.path.abspath("relative"))  # noqa: PTH100
