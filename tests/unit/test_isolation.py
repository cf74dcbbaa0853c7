"""The choice of a level, and what is shown and hidden: without a kernel."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from fedenvoy.config import AgentSettings, DirectorAddress, NodeConfig, SandboxSettings, ShardSource, TlsFiles
from fedenvoy.engines.child.places import HIDE, READ, WRITE, Place, follow, layout
from fedenvoy.engines.interpreters import places_named, places_of
from fedenvoy.errors import ConfigurationError
from fedenvoy.isolation import choose, hidden, shown, user_named
from fedenvoy.isolation.levels import explained
from fedenvoy.ports import Confinement

NOBODY = pwd.getpwnam("nobody")


def works(_walls: Confinement) -> str:
    return ""


def fails(reason: str) -> Callable[[Confinement], str]:
    return lambda _walls: reason


# The level


def test_the_strongest_that_works_is_taken() -> None:
    assert str(choose(None, None, works)) == "sandbox"
    without = choose(None, None, fails("unshare: Operation not permitted"))
    assert without.level == "process"
    assert "user namespaces are turned off for this user" in str(without)
    assert str(without).startswith("process (no sandbox: ")


def test_process_is_what_is_asked_for_and_nothing_is_tried() -> None:
    def never(_walls: Confinement) -> str:
        raise AssertionError

    assert str(choose("process", None, never)) == "process"


def test_a_sandbox_that_is_asked_for_and_cannot_be_had_is_a_refusal() -> None:
    with pytest.raises(
        ConfigurationError, match=r"agent\.isolation is sandbox, .*Linux 5.12.*agent\.isolation: process"
    ):
        choose("sandbox", None, fails("mount_setattr: Function not implemented"))


@pytest.mark.parametrize("asked", [None, "user"])
def test_run_as_is_the_level_user(monkeypatch: pytest.MonkeyPatch, asked: str | None) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tried: list[Confinement] = []

    def note(walls: Confinement) -> str:
        tried.append(walls)
        return ""

    found = choose(asked, "nobody", note)
    assert (found.level, found.uid, found.gid) == ("user", NOBODY.pw_uid, NOBODY.pw_gid)
    assert (tried[0].level, tried[0].uid) == ("user", NOBODY.pw_uid)
    with pytest.raises(ConfigurationError, match=r"cannot be run as nobody .agent.run_as.: .*covered"):
        choose(asked, "nobody", fails("mount proc at /proc: Operation not permitted"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigurationError, match="only root can run experiments as another user"):
        choose(asked, "nobody", works)


@pytest.mark.parametrize("asked", ["process", "sandbox"])
def test_run_as_and_another_level_contradict_each_other(asked: str) -> None:
    with pytest.raises(ConfigurationError, match=f"takes agent.isolation: user, and that is {asked}: remove one"):
        choose(asked, "nobody", works)


def test_the_level_user_needs_a_user() -> None:
    with pytest.raises(ConfigurationError, match=r"agent\.run_as does not say which"):
        choose("user", None, works)


def test_users_are_named_in_four_ways() -> None:
    assert user_named("nobody") == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert user_named(str(NOBODY.pw_uid)) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert user_named("nobody:1234") == (NOBODY.pw_uid, 1234)
    assert user_named("4242424") == (4242424, 4242424)
    for name, words in (("no-such-user", "no such user"), ("root", "which is root"), ("nobody:no-such", "no group")):
        with pytest.raises(ConfigurationError, match=words):
            user_named(name)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("unshare: No space left on device", "user namespaces are turned off"),
        ("[Errno 1] uid_map", "user namespaces are turned off"),
        ("mount proc at /proc: Operation not permitted", "a part of /proc is covered"),
        ("mount tmpfs at /proc: Permission denied", "mounting is forbidden here"),
        ("pivot_root: Invalid argument", "an initial RAM disk"),
        ("something new", "something new"),
    ],
)
def test_what_the_kernel_says_becomes_words(reason: str, words: str) -> None:
    assert words in explained(reason)
    assert reason in explained(reason)


# What is shown


def config(place: Path, **agent: Any) -> NodeConfig:
    (place / "home").mkdir(exist_ok=True)
    settings = AgentSettings(home=place / "home", state_dir=place / "state")
    shard = ShardSource("shard.Shard", {"data": str(place / "data"), "also": [{"x": place / "more"}], "no": "/nowhere"})
    return NodeConfig("one", DirectorAddress("d", 1), shard, agent=evolve(settings, **agent))


def test_what_is_shown_is_home_its_links_and_the_data(tmp_path: Path) -> None:
    for name in ("data", "more", "disk"):
        (tmp_path / name).mkdir()
    node = config(tmp_path)
    (tmp_path / "home/link").symlink_to("../disk")
    home, disk, data, more = shown(node)
    assert (home, disk) == (tmp_path / "home", (tmp_path / "disk").resolve())
    assert {data, more} == {tmp_path / "data", tmp_path / "more"}
    named = config(tmp_path, sandbox=SandboxSettings(read=(tmp_path / "disk",)))
    assert shown(named) == (home, disk) if disk == tmp_path / "disk" else (home, disk, tmp_path / "disk")


def test_an_instance_s_attributes_name_its_data(tmp_path: Path) -> None:
    class Shard:
        def __init__(self) -> None:
            self.place = str(tmp_path)

    node = evolve(config(tmp_path), shard=Shard())
    assert tmp_path in shown(node)


def test_a_root_directory_is_never_shown_whole(tmp_path: Path) -> None:
    node = config(tmp_path, home=Path("/"), sandbox=SandboxSettings(read=(Path("/"),)))
    assert Path("/") not in {place.resolve() for place in shown(node)}


def test_the_key_and_the_state_are_hidden(tmp_path: Path) -> None:
    key = tmp_path / "home/key.pem"
    node = evolve(config(tmp_path), tls=TlsFiles(tmp_path / "ca", key, tmp_path / "cert"))
    root = tmp_path / "state"
    assert hidden(node, root, root / "one") == (key, root, root / "one")


def test_a_home_inside_of_the_state_directory_is_seen_and_the_rest_is_not(tmp_path: Path) -> None:
    root = tmp_path / "home"
    for name in ("one-123", "two-456"):
        (root / name).mkdir(parents=True)
    node = config(tmp_path)
    assert set(hidden(node, root, root / "one-123")) == {root / "one-123", root / "two-456"}
    inside = config(tmp_path, home=root / "site")
    (root / "site").mkdir()
    assert set(hidden(inside, root, root / "one-123")) == {root / "one-123", root / "two-456"}


# The mounts


def test_the_deeper_mount_comes_later_and_stands(tmp_path: Path) -> None:
    for name in ("a/b/c/d", "e"):
        (tmp_path / name).mkdir(parents=True)
    a, b, c, d = (str(tmp_path / name) for name in ("a", "a/b", "a/b/c", "a/b/c/d"))
    places, links = layout([d, a, b, str(tmp_path / "missing")], [c], [b], {})
    assert places == [Place(a, a, READ), Place(b, b, HIDE), Place(c, c, WRITE), Place(d, d, READ)]
    assert links == {}


def test_what_is_seen_already_needs_no_mount(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    a, b = str(tmp_path / "a"), str(tmp_path / "a/b")
    assert layout([a, b], [], [], {})[0] == [Place(a, a, READ)]
    assert layout([b], [a], [], {})[0] == [Place(a, a, WRITE), Place(b, b, READ)]


def test_a_path_may_show_another_directory(tmp_path: Path) -> None:
    (tmp_path / "seen/within").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    seen, own, within = (str(tmp_path / name) for name in ("seen", "own", "seen/within"))
    assert layout([within], [], [], {seen: own})[0] == [Place(seen, own, WRITE), Place(within, within, READ)]
    assert layout([seen], [], [], {seen: own})[0] == [Place(seen, seen, READ)]


def test_links_are_followed_and_known(tmp_path: Path) -> None:
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "one").symlink_to("real")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    links, real = follow(str(tmp_path / "two/deep/../deep"))
    assert real == str(tmp_path / "real/deep")
    assert links == [(str(tmp_path / "two"), str(tmp_path / "one")), (str(tmp_path / "one"), "real")]
    (tmp_path / "loop").symlink_to("loop")
    follow(str(tmp_path / "loop"))  # ends


# The interpreter


def installation(place: Path) -> Path:
    (place / "bin").mkdir(parents=True)
    (place / "lib/python3.11/site-packages").mkdir(parents=True)
    (place / "bin/python3.11").touch()
    (place / "bin/python").symlink_to("python3.11")
    return place / "bin/python"


def test_an_interpreter_needs_its_installation_and_what_it_was_made_from(tmp_path: Path) -> None:
    base = installation(tmp_path / "base")
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/pyvenv.cfg").write_text(f"home = {base.parent}\nversion = 3.11\n")
    (tmp_path / "venv/bin/python").symlink_to(base)
    packages = tmp_path / "venv/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    for name in ("plain", "editable", "node/lib"):
        (tmp_path / name).mkdir(parents=True)
    (packages / "a.pth").write_text(
        f"{tmp_path / 'plain'}\nimport site; site.addsitedir({str(tmp_path / 'node/lib')!r})\n"
    )
    (packages / "__editable___x_finder.py").write_text(f"MAPPING = {{'x': {str(tmp_path / 'editable')!r}}}\n")
    (tmp_path / "node/lib/b.pth").write_text(f"{tmp_path / 'base'}\n")
    found = set(places_of(tmp_path / "venv/bin/python"))
    assert found >= {tmp_path / name for name in ("venv", "base", "plain", "editable", "node/lib", "venv/bin/python")}


def test_no_home_directory_is_shown_because_a_program_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    python = installation(tmp_path)
    (tmp_path / "secrets").mkdir()
    found = set(places_of(python))
    assert tmp_path not in found
    assert {tmp_path / "bin", tmp_path / "lib"} <= found
    assert places_named({"PYTHONPATH": f"{tmp_path}:/usr:relative"}) == (tmp_path / "bin", tmp_path / "lib")


def test_a_script_that_is_called_an_interpreter_shows_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "python").touch()
    assert set(places_of(tmp_path / "python")) == {tmp_path / "python"}
