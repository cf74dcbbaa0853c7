"""Run directories: private, and gone afterwards whatever was left in them."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from fedenvoy.workspace.runs import clean_leftovers, make_run, remove_run, runs_directory


def test_a_run_gets_an_empty_directory_of_its_own(tmp_path: Path) -> None:
    run = make_run(tmp_path, 3, 7)
    assert run == tmp_path / "runs" / "3-7"
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert stat.S_IMODE(run.parent.stat().st_mode) == 0o700
    (run / "old").touch()
    assert list(make_run(tmp_path, 3, 7).iterdir()) == []


@pytest.mark.parametrize("session", ["../x", "a/b", "", "..", ".hidden", "a b", "x\0"])
def test_B38_a_name_is_never_a_path(tmp_path: Path, session: str) -> None:
    if session == "":
        assert make_run(tmp_path, session, 1) == tmp_path / "runs" / "-1"
        return
    with pytest.raises(ValueError, match="not fit"):
        make_run(tmp_path, session, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_state_directory_is_refused_for_the_working_directory_may_vanish() -> None:
    with pytest.raises(ValueError, match="absolute"):
        make_run(Path("state"), 1, 1)


HARD_CASE = """
import os, sys
from pathlib import Path
from fedenvoy.workspace.runs import clean_leftovers, make_run
state = Path(sys.argv[1])
if os.geteuid() == 0:  # root may write anywhere: the case needs another user
    os.chown(state, 65534, 65534)
    os.setgid(65534)
    os.setuid(65534)
workspace = make_run(state, 1, 1) / "workspace"
(workspace / "a/b").mkdir(parents=True)
(workspace / "a/b/file").touch(mode=0o400)
(workspace / "out").symlink_to(sys.argv[2])
os.chdir(workspace)
deep = workspace
for level in range(1200):  # deeper than Python recurses
    deep = deep / "d"
    deep.mkdir()
for path in ("a/b", "a"):
    Path(path).chmod(0o500)
print(clean_leftovers(state))
make_run(state, 1, 2)  # from a working directory that is gone
print(clean_leftovers(state))
"""


def test_B36_read_only_files_links_and_a_vanished_working_directory_do_not_stop_the_removal() -> None:
    # Not below pytest's own directory: another session of pytest may close that to other users at any time.
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        state, outside = Path(place, "state"), Path(place, "outside")
        state.mkdir()
        outside.mkdir()
        (outside / "precious").touch()
        done = subprocess.run(
            [sys.executable, "-c", HARD_CASE, str(state), str(outside)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert done.stdout.splitlines() == ["('1-1',)", "('1-2',)"], done.stderr
        assert list(runs_directory(state).iterdir()) == []
        assert (outside / "precious").exists()


def test_leftovers_of_any_kind_go_and_none_are_no_error(tmp_path: Path) -> None:
    assert clean_leftovers(tmp_path) == ()
    (make_run(tmp_path, "a", 1) / "archive.zip").touch()
    (runs_directory(tmp_path) / "file").touch()
    (runs_directory(tmp_path) / "link").symlink_to(tmp_path)
    assert clean_leftovers(tmp_path) == ("a-1", "file", "link")
    assert tmp_path.exists()
    assert remove_run(tmp_path / "never" / "there")


def nest(top: Path, levels: int) -> None:
    """Nest directories with a file in each, deeper than any path can say."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 50, 0o700, dir_fd=here)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, 0o400, dir_fd=here))
    os.close(here)


def test_what_is_nested_deeper_than_paths_go_is_removed(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1, 1)
    nest(run, 200)
    with pytest.raises(OSError, match="too long"):
        run.joinpath(*["d" * 50] * 150).lstat()
    assert remove_run(run)
    assert list(run.parent.iterdir()) == []


def test_what_cannot_be_changed_is_removed_by_whoever_may_let_it_be_changed(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1, 1)
    (run / "directory").mkdir()
    (run / "directory/file").touch()
    for path in (run / "directory/file", run / "directory"):
        descriptor = os.open(path, os.O_RDONLY)
        if os.geteuid() == 0:  # nobody else can forbid changes
            fcntl.ioctl(descriptor, 0x40086602, struct.pack("l", 0x10))
            with pytest.raises(PermissionError):
                path.rename(run / "x")
        os.close(descriptor)
    assert remove_run(run)


def test_what_a_run_left_may_be_looked_at_before_it_is_removed(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1, 1)
    (run / "child.log").write_text("last words")
    seen = []
    clean_leftovers(tmp_path, lambda path: seen.append((path, (path / "child.log").read_text())))
    assert seen == [(run, "last words")]
    assert not run.exists()
