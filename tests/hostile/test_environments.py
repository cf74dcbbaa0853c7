"""Packages whose build is hostile: what their code reaches of the node, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import threading
import uuid
from pathlib import Path

import pytest
from fedenvoy.app.confining import Confining
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.config import AgentSettings, DirectorAddress, NodeConfig, ShardSource, TlsFiles
from support.environments import DEADLINE, PYTHON, Node, make_wheels, source, version

SLEEP = f"600.{uuid.uuid4().int % 10**12}"
"""Seconds that what a build left behind would sleep: its mark in the list of processes, this one's own."""

ATTEMPTS = """
import glob, os, subprocess, sys
FOUND = []
def attempt(name, what):
    try:
        what()
    except BaseException as error:
        return
    FOUND.append(name)
def write(path):
    with open(path, "a") as file:
        file.write("poison")
attempt("key", lambda: open(KEY).read())
attempt("state", lambda: open(PINS).read())
attempt("other environment", lambda: write(OTHER))
attempt("lock", lambda: write(PINS))
attempt("uv's cache", lambda: write(CACHE + "/poison"))
attempt("archive", lambda: write(WORKSPACE + "/poison"))
attempt("site's file", lambda: write(SITE))
attempt("the agent", lambda: open(AGENT, "a").close())
attempt("its packages", lambda: open(PACKAGE, "a").close())
attempt("home", lambda: open(HOME + "/secret").read())
attempt("other processes", lambda: [os.kill(pid, 0) for pid in AGENTS])
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 64)
    os.environ.clear()
    os.execv("/bin/sleep", ["sleep", SLEEP])
"""


def tree(top: Path) -> str:
    """Give one digest of a directory's whole content, names and modes."""
    digest = hashlib.sha256()
    for path in sorted(top.rglob("*")):
        if "__pycache__" in path.parts:
            continue
        digest.update(f"{path.relative_to(top)} {path.lstat().st_mode}\0".encode())
        if path.is_file() and not path.is_symlink():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def sleepers() -> list[int]:
    """Give the processes that carry the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if SLEEP.encode() in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
    return found


class Site:
    """A node with something to lose, whose builds are confined as a real node confines them."""

    def __init__(self, tmp_path: Path, level: str) -> None:
        self.wheels = make_wheels(tmp_path / "wheels")
        self.key = tmp_path / "home" / "node.key"
        self.key.parent.mkdir()
        (self.key.parent / "secret").write_text("secret")
        self.key.write_text("secret")
        self.cache = tmp_path / "uv-cache"
        self.node = Node(tmp_path, self.wheels, UV_CACHE_DIR=str(self.cache))
        self.file = self.key.parent / "site.txt"
        self.file.write_text("protobuf\n")
        config = NodeConfig(
            "node-1",
            DirectorAddress("localhost", 1),
            ShardSource("nowhere.Shard"),
            tls=TlsFiles(self.key, self.key, self.key),
            agent=AgentSettings(home=self.key.parent, isolation=level, run_as="nobody" if level == "user" else None),
        )
        state = self.node.root.parent
        (state / "node").mkdir(parents=True)
        confining = Confining(
            config, root=state, node_dir=state / "node", python=PYTHON, environ=os.environ, limits={"open_files": 4096}
        )
        self.node.confine = confining.run

    def attempts(self) -> str:
        other = self.node.build("alpha<2").parent.parent
        places = {
            "KEY": self.key,
            "OTHER": next(other.rglob("alpha.py")),
            "PINS": next(self.node.root.glob("*.pins")),
            "CACHE": self.cache,
            "WORKSPACE": self.node.workspace,
            "SITE": self.file,
            "AGENT": Path(__file__).parents[2] / "agent/fedenvoy/__init__.py",
            "PACKAGE": pytest.__file__,
            "HOME": self.key.parent,
            "AGENTS": [os.getppid(), os.getpid()],
            "SLEEP": SLEEP,
        }
        assigned = [f"{name} = {value if isinstance(value, list) else str(value)!r}" for name, value in places.items()]
        return "\n".join(assigned) + ATTEMPTS


LEVELS = ["sandbox", *([pytest.param("user", marks=pytest.mark.nightly)] if os.getuid() == 0 else [])]
"""To run something as another user, one must be root."""


@pytest.fixture(params=LEVELS)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return Site(tmp_path, request.param)


def found(python: Path, name: str) -> object:
    """Give what the build of a package noted in it."""
    code = f"import json, {name}; print(json.dumps({name}.FOUND))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_B38_a_build_reaches_nothing_of_the_node_and_leaves_no_process(site: Site) -> None:
    source(site.wheels, "gamma", site.attempts())
    source(site.node.workspace, "delta", site.attempts(), static=True)
    others = sorted(site.node.root.iterdir())
    kept = [site.key.parent, site.node.workspace, *(path for path in others if path.is_dir())]
    before = [tree(path) for path in kept]
    python = site.node.build("gamma\n./delta-1.0.tar.gz", site=site.file)
    assert (found(python, "gamma"), found(python, "delta")) == ([], [])
    assert version(python, "protobuf") == "3.20.3"
    assert sleepers() == []
    assert [tree(path) for path in kept] == before
    owners = {path.lstat().st_uid for path in python.parent.parent.rglob("*")}
    assert owners == {os.getuid()}, "nobody's but the agent's, whoever built it"
    assert not list(site.cache.rglob("*poison*"))
    assert not [path for path in site.node.root.rglob("*") if path.is_file() and b"poison" in path.read_bytes()]


@pytest.mark.nightly
def test_links_that_a_build_leaves_lead_nowhere(site: Site, tmp_path: Path) -> None:
    """The tree is made read-only afterwards by somebody who may do more than the build could."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (victim / "file").write_text("x")
    (victim / "file").chmod(0o600)
    links = f"""
import glob, os
(place,) = glob.glob({str(site.node.root)!r} + "/*.new")
if not os.path.lexists(place + "/link"):
    os.symlink({str(victim)!r}, place + "/link")
    os.symlink({str(victim / "file")!r}, place + "/file")
    os.mkfifo(place + "/pipe")
    os.mkdir(place + "/deep")
    os.chmod(place + "/deep", 0)
FOUND = place
"""
    source(site.wheels, "gamma", links, static=True)
    place = site.node.build("gamma").parent.parent
    assert found(place / "bin/python", "gamma") == f"{place}.new", "it saw where it is installed to"
    assert (place / "link").is_symlink()
    assert not (place / "pipe").exists()
    assert (victim.stat().st_mode & 0o777, (victim / "file").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_cancelled_build_is_gone_with_all_that_it_started(site: Site, tmp_path: Path) -> None:
    began = site.wheels / "began"
    os.mkfifo(began)
    source(
        site.wheels,
        "gamma",
        f"""
import os, subprocess, time
subprocess.Popen(["/bin/sleep", {SLEEP!r}], start_new_session=True, env={{}})
open({str(began)!r}).close()
time.sleep(3600)
""",
    )
    cancel = Cancel()

    def when_it_builds() -> None:
        with began.open("w"):
            assert sleepers()
            cancel.cancel()

    helper = threading.Thread(target=when_it_builds)
    helper.start()
    with pytest.raises(Cancelled):
        site.node.build("gamma", cancel=cancel)
    helper.join(DEADLINE)
    assert not helper.is_alive()
    assert sleepers() == []
    assert site.node.left() == []


def test_a_build_that_fills_the_disk_is_ended_and_leaves_nothing(site: Site) -> None:
    source(
        site.wheels,
        "gamma",
        """
with open(HERE + "/junk", "wb") as file:
    while True:
        file.write(bytes(2**20))
        file.flush()
""",
    )
    error = site.node.failure("gamma", max_environment_bytes=50 * 2**20)
    assert (error.kind, "agent.requirements.max_environment_bytes" in str(error)) == ("refused", True)


@pytest.mark.nightly
def test_a_build_that_never_ends_is_ended(site: Site) -> None:
    source(
        site.wheels, "gamma", "import time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(3600)\n"
    )
    assert site.node.failure("gamma", timeout=4).kind == "timeout"
