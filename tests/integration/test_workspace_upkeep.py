"""Environments over time: removed when nobody uses them, whole after uv was killed, and built without an index."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fedenvoy.cancel import Cancel
from fedenvoy.config import RequirementsSettings, SandboxSettings
from fedenvoy.ports import EngineNeeds
from fedenvoy.processes import members
from fedenvoy.testing import SandboxDirector
from fedenvoy.workspace import installer, interpreters
from fedenvoy.workspace.environments import Environments, RequirementsError
from fedenvoy.workspace.installer import uv_path
from fedenvoy.workspace.needs import bounds
from fedenvoy.workspace.runs import remove_run
from fedenvoy.workspace.upkeep import in_use, prune
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.archives import archive
from support.environments import DEADLINE, Node, slow_package, version, wheel

DAY = 24 * 3600.0
S, E = State, Event


def age(place: Path, days: float) -> None:
    """Make an environment look as if it was used last so long ago."""
    then = place.lstat().st_mtime - days * DAY
    for path in (place, *place.parent.glob(f"{place.name}.*")):
        os.utime(path, (then, then))


def is_held(path: Path) -> bool:
    """Whether somebody has locked a file."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Removal


def test_an_environment_that_nobody_used_for_a_month_goes_when_another_is_built(node: Node) -> None:
    old, kept = node.build("alpha==1.0").parent.parent, node.build("alpha==2.0").parent.parent
    age(old, 31)
    age(kept, 29)
    new = node.build("beta").parent.parent
    assert sorted(node.left()) == sorted([kept.name, new.name])
    assert version(node.build("alpha==1.0"), "alpha") == "1.0", "it can be built again"


def test_use_keeps_an_environment(node: Node) -> None:
    place = node.build("alpha==1.0").parent.parent
    age(place, 31)
    node.build("alpha==1.0")
    node.build("beta")
    assert place.name in node.left()


def test_an_environment_in_use_stays_however_old_it_is(node: Node) -> None:
    place = node.build("alpha==1.0").parent.parent
    with in_use(place):
        age(place, 400)
        assert prune(node.root, 30 * DAY) == ()
        assert version(place / "bin/python", "alpha") == "1.0"
    age(place, 400)
    assert prune(node.root, 30 * DAY) == (place.name,)
    assert node.left() == []


@pytest.mark.nightly
def test_nothing_is_removed_where_nothing_is_to_be(node: Node) -> None:
    place = node.build("alpha==1.0").parent.parent
    age(place, 4000)
    assert prune(node.root, 0) == ()
    assert node.left() == [place.name]


@pytest.mark.nightly
def test_what_a_build_that_was_cut_off_left_goes_too(node: Node) -> None:
    place = node.build("alpha==1.0").parent.parent
    remove_run(place)
    new = node.root / f"{place.name}.new"
    new.mkdir()
    age(new, 31)
    assert prune(node.root, 30 * DAY) == (), "the note of its use is young"
    age(place.with_suffix(".used"), 31)
    assert prune(node.root, 30 * DAY) == (place.name,)
    assert node.left() == []


@pytest.mark.nightly
def test_an_environment_that_is_being_built_is_not_removed(node: Node) -> None:
    place = node.build("alpha==1.0").parent.parent
    age(place, 31)
    with (node.root / f"{place.name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert prune(node.root, 30 * DAY) == ()
    assert prune(node.root, 30 * DAY) == (place.name,)


def test_who_asks_while_it_is_being_removed_gets_a_new_one(node: Node) -> None:
    """As between two agents that share a cache."""
    node.build("alpha==1.0")
    place = node.build("alpha==1.0").parent.parent
    built: list[Path] = []
    with place.with_suffix(".used").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        thread = threading.Thread(target=lambda: built.append(node.build("alpha==1.0")))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive(), "it waits"
        remove_run(place)
    thread.join(DEADLINE)
    assert version(built[0], "alpha") == "1.0"


def test_a_running_experiment_keeps_its_environment(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import pathlib, time
def run(shard, devices, plan):
    while not pathlib.Path(GATE).exists():
        time.sleep(0.02)
""".replace("GATE", repr(str(tmp_path / "gate")))
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    wanted = "--no-index\nalpha==1.0\n"
    with SandboxDirector() as director:
        director.offer("exp", archive(code, requirements=wanted), to=["node-1"])
        settings = config(director.address, tmp_path / "state", agent__sandbox=SandboxSettings(read=(tmp_path,)))
        with running(settings) as node:
            node.wait_state(S.TRAINING)
            root = tmp_path / "state" / "environments"
            (place,) = [path for path in root.iterdir() if path.is_dir()]
            wait_until(lambda: is_held(place.with_suffix(".used")))
            age(place, 31)
            assert prune(root, 30 * DAY) == ()
            (tmp_path / "gate").touch()
            node.wait_event(E.REPORT_DELIVERED)
            age(place, 31)
            assert prune(root, 30 * DAY) == (place.name,)


# uv, killed


@pytest.fixture
def uv_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that lets uv be killed, once, as soon as it has begun with one of its commands."""

    def arrange(command: str) -> None:
        script = tmp_path / "uv"
        script.write_text(
            f"#!/bin/sh\nif [ $1 = {command} ] && mkdir {tmp_path}/died 2>/dev/null; then kill -9 $$; fi\n"
            f'exec {uv_path()} "$@"\n'
        )
        script.chmod(stat.S_IRWXU)
        for module in (installer, interpreters):
            monkeypatch.setattr(module, "uv_path", lambda: str(script))

    return arrange


@pytest.mark.parametrize("command", [pytest.param("venv", marks=pytest.mark.nightly), "pip"])
def test_B83_uv_killed_in_a_command_is_this_machine_s_fault_and_leaves_nothing(
    node: Node, command: str, uv_dies: Callable[[str], None]
) -> None:
    uv_dies(command)
    error = node.failure("alpha==1.0")
    assert error.kind == "environment"
    assert str(error) == "uv was killed by signal 9 while it installed the requirements (out of memory?)"
    assert version(node.build("alpha==1.0"), "alpha") == "1.0"


def test_B83_uv_killed_while_it_builds_takes_its_builders_with_it(node: Node, tmp_path: Path) -> None:
    building = slow_package(node, tmp_path)

    def when_it_builds() -> None:
        with building.open() as pipe:
            assert pipe.read(1) == "x"
            (token,) = [held.split()[1] for lock in node.root.glob("*.lock") if (held := lock.read_text())]
            found = members(token)
            (uv,) = [pid for pid in found if Path(f"/proc/{pid}/comm").read_text() == "uv\n"]
            os.kill(uv, signal.SIGKILL)
            assert pipe.read() == "", "the end comes when the last process has ended"

    helper = threading.Thread(target=when_it_builds)
    helper.start()
    error = node.failure("./slow")
    helper.join(DEADLINE)
    assert not helper.is_alive()
    assert (error.kind, "killed by signal 9" in str(error)) == ("environment", True)


@pytest.mark.parametrize("command", [pytest.param("venv", marks=pytest.mark.nightly), "pip"])
def test_B83_a_node_whose_uv_is_killed_reports_once_and_goes_on(
    tmp_path: Path, wheels: Path, command: str, uv_dies: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    uv_dies(command)
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    wanted = "--no-index\nalpha==1.0\n"
    with SandboxDirector() as director:
        director.offer("exp", archive(requirements=wanted), to=["node-1"])
        with running(config(director.address, tmp_path / "state")) as node:
            node.wait_event(E.REPORT_DELIVERED)
            (failed,) = [record for record in node.records if record.event is E.REQUIREMENTS_FAILED]
            assert "uv was killed by signal 9" in failed.cause
            assert failed.settled is None, "the archive is not to blame"
            director.offer("next", archive(requirements=wanted), to=["node-1"])
            node.wait_event(E.TRAINING_FINISHED)
            node.wait_event(E.REPORT_DELIVERED, times=2)
    assert [report.experiment_name for report in director.reports] == ["exp"]


# Whose fault it is


def test_what_this_node_must_mend_is_told_apart(node: Node, tmp_path: Path) -> None:
    assert node.failure("alpha", site=tmp_path / "none.txt").kind == "environment"
    environments = Environments(tmp_path / "state", RequirementsSettings(), tmp_path / "python")
    with pytest.raises(RequirementsError) as caught:
        environments.build("", None, EngineNeeds(), node.workspace, inherit=False, cancel=Cancel())
    assert caught.value.kind == "environment"


# Without an index


def uv(node: Node, *arguments: str) -> int:
    return subprocess.run([uv_path(), *arguments], env=node.environ, check=False).returncode


@pytest.fixture
def site(tmp_path: Path, node: Node) -> Path:
    """Give a site's interpreter with an engine in it, which its wheels do not hold; it needs alpha before 2."""
    wheel(tmp_path / "engine", "engine", "1.6", "alpha<2; python_version > '3'\nRequires-Dist: zeta; extra == 'more'")
    python = tmp_path / "site" / "bin" / "python"
    assert uv(node, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "site")) == 0
    engine = ("--find-links", str(tmp_path / "engine"), "--find-links", str(tmp_path / "wheels"), "engine==1.6")
    assert uv(node, "pip", "install", "--quiet", "--python", str(python), *engine) == 0
    site = tmp_path / "site.txt"
    site.write_text(f"--no-index\n--find-links {tmp_path / 'wheels'}\nprotobuf\n")
    return python


def build(node: Node, python: Path, tmp_path: Path, requirements: str, *, inherit: bool = True) -> Path:
    environments = Environments(tmp_path / "other", RequirementsSettings(), python, environ=node.environ)
    return environments.build(
        requirements=requirements,
        site=tmp_path / "site.txt",
        needs=EngineNeeds(packages=("engine==1.6", "beta[x]<9")),
        workspace=node.workspace,
        inherit=inherit,
        cancel=Cancel(),
    )


def test_an_engine_that_the_node_has_need_not_be_found_again(node: Node, site: Path, tmp_path: Path) -> None:
    with pytest.raises(RequirementsError, match="engine"):
        build(node, site, tmp_path, "", inherit=True)  # beta is missing on the node
    assert uv(node, "pip", "install", "--quiet", "--python", str(site), "beta") == 0
    with pytest.raises(RequirementsError, match="engine"):
        build(node, site, tmp_path, "", inherit=False)
    python = build(node, site, tmp_path, "")
    assert [version(python, name) for name in ("protobuf", "engine")] == ["3.20.3", "1.6"]
    assert build(node, site, tmp_path, "") == python


def test_what_the_node_s_engine_cannot_work_with_is_not_put_in_front_of_it(
    node: Node, site: Path, tmp_path: Path
) -> None:
    assert uv(node, "pip", "install", "--quiet", "--python", str(site), "beta") == 0
    assert version(build(node, site, tmp_path, "alpha"), "alpha") == "1.0"
    with pytest.raises(RequirementsError, match=r"alpha"):
        build(node, site, tmp_path, "alpha==2.0")


def test_bounds_are_those_of_the_whole_chain_without_extras(site: Path, node: Node, tmp_path: Path) -> None:
    places = interpreters.inspect(site).places
    assert set(bounds(("engine[more]==1.6", "other @ https://x/y.whl", "plain"), places)) == {
        "engine ==1.6",
        "alpha <2; python_version > '3'",
    }
