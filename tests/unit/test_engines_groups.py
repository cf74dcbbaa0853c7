"""Control groups of runs: which part of the tree is ours to divide, and what is written where.

The tree here is one of plain files, which keeps what is written; a kernel's would act on it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from fedenvoy.engines import groups

LIMITS = {"memory": 2**30, "processes": 100}


def system(root: Path, *, own: str = "/system.slice/node.service", controllers: str = "cpu memory pids") -> Path:
    """Make a tree in which this process lives in the group `own`; give that group's directory."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"1:name=systemd:/x\n0::{own}\n")
    here = root / "sys/fs/cgroup" / own.strip("/")
    here.mkdir(parents=True)
    for name, text in {"controllers": controllers, "subtree_control": "", "procs": ""}.items():
        (here / f"cgroup.{name}").write_text(text)
    return here


def test_a_part_that_was_given_away_is_divided_and_the_agent_moves_out_of_its_top(tmp_path: Path) -> None:
    here = system(tmp_path)
    assert groups.find(tmp_path, privileged=False) == here
    assert (here / "agent/cgroup.procs").read_text() == str(os.getpid())
    assert (here / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_an_agent_that_has_moved_finds_the_same_part_again(tmp_path: Path) -> None:
    top = system(tmp_path, own="/node.service/agent").parent
    for name, text in {"controllers": "memory pids", "subtree_control": "memory pids"}.items():
        (top / f"cgroup.{name}").write_text(text)
    assert groups.find(tmp_path, privileged=False) == top


def test_root_takes_no_part_that_nobody_gave_it(tmp_path: Path) -> None:
    here = system(tmp_path)
    assert groups.find(tmp_path, privileged=True) is None
    assert (here / "cgroup.subtree_control").read_text() == ""
    os.setxattr(here, "user.delegate", b"1")
    assert groups.find(tmp_path, privileged=True) == here


@pytest.mark.parametrize("controllers", ["", "cpu memory", "pids"])
def test_without_the_controllers_there_is_no_part(tmp_path: Path, controllers: str) -> None:
    system(tmp_path, controllers=controllers)
    assert groups.find(tmp_path, privileged=False) is None


def test_a_system_without_such_groups_has_no_part(tmp_path: Path) -> None:
    assert groups.find(tmp_path) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/docker/x\n")
    assert groups.find(tmp_path) is None


def test_a_part_that_cannot_be_divided_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = system(tmp_path)
    write = Path.write_text

    def refuse(path: Path, text: str) -> int:
        if path.name == "cgroup.subtree_control":
            raise OSError(errno.EBUSY, "somebody else lives here")
        if path == here / "cgroup.procs":  # as a kernel would have it: nobody is left where this process was
            (here / "agent/cgroup.procs").unlink()
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", refuse)
    assert groups.find(tmp_path, privileged=False) is None
    assert (here / "cgroup.procs").read_text() == str(os.getpid())
    assert not (here / "agent").exists()


def test_a_run_has_a_group_for_as_long_as_it_lasts(tmp_path: Path) -> None:
    with groups.group(tmp_path, "s-1", LIMITS) as found:
        (place,) = map(Path, found)
        assert place == tmp_path / "run-s-1"
        assert {path.name: path.read_text() for path in place.iterdir()} == {
            "memory.max": str(2**30),
            "memory.oom.group": "1",
            "memory.swap.max": "0",
            "pids.max": "200",
        }
        for path in place.iterdir():  # a kernel's files go with their directory
            path.unlink()
    assert not (place / "memory.max").exists()


@pytest.mark.parametrize(("parent", "limits"), [(None, LIMITS), (Path("/"), {}), (Path("/dev/null"), LIMITS)])
def test_a_run_without_a_group_goes_on_without(parent: Path | None, limits: dict[str, int]) -> None:
    with groups.group(parent, "s-1", limits) as found:
        assert found == ()
