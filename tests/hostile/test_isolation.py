"""A hostile experiment on a real node: what it may do by the level of isolation, of root's agent and of nobody's.

Every attack is seen to work where nothing confines it, so that its failing behind the walls means something.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.testing import SandboxDirector, ThrowawayAuthority
from hostile.attacks import ATTACKS, NAMES, ROOT_ALONE
from integration.test_agent_paths import make_wheel
from support.archives import archive
from support.processes import Program
from support.sources import source_path

NOBODY = 65534
PATIENCE = 60.0


@dataclass(frozen=True)
class Setting:
    """A node to attack.

    Attributes:
        level: Its isolation.
        root: Whether its agent is root.

    """

    level: str
    root: bool

    def __str__(self) -> str:
        return f"{self.level}-{'root' if self.root else 'nobody'}"


ROOT = os.geteuid() == 0
OPEN = [Setting("process", root) for root in ([True, False] if ROOT else [False])]
CONFINED = [Setting("sandbox", root) for root in ([True, False] if ROOT else [False])]
CONFINED += [Setting("user", root=True)] if ROOT else []


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        attacks: Of each one whether it worked, and what it ended in.
        survived: Whether the experiment outlived its last one.
        log: The agent's.

    """

    attacks: dict[str, tuple[bool, str]]
    survived: bool
    log: str


@functools.cache
def attacked(setting: Setting) -> Outcome:
    """Run a node and the hostile experiment on it, once."""
    place = Path(tempfile.mkdtemp(prefix="fedenvoy-hostile-", dir="/tmp"))  # nobody else may enter pytest's
    try:
        with SandboxDirector(tls=(authority := ThrowawayAuthority()).issue("director")) as director:
            return _attack(setting, place, director, authority)
    finally:
        shutil.rmtree(place)


def _attack(setting: Setting, place: Path, director: SandboxDirector, authority: ThrowawayAuthority) -> Outcome:
    home, out, wheels = place / "home", place / "out", place / "wheels"
    for directory in (home, out, wheels, place / "cert"):
        directory.mkdir()
    tls = authority.issue("node-1").write(home, "node-1")
    (home / "my_shard.py").write_bytes((Path(__file__).parents[1] / "support" / "shards.py").read_bytes())
    (home / "policy.yaml").write_text("rules: []\n")
    (place / "secret").write_text("secret")
    make_wheel(wheels, "tiny_package", "1.0", "VALUE = 1")
    with_run_as = f"\n  run_as: '{NOBODY}'" if setting.level == "user" else ""
    (home / "envoy_config.yaml").write_text(
        "shard_descriptor: {template: my_shard.NumbersShard, params: {rank: 2}}\n"
        f"agent:\n  state_dir: {place / 'state'}\n  isolation: {setting.level}{with_run_as}\n  kill_grace: 2\n"
        f"  sandbox: {{write: [{out}]}}\n"
    )
    _give(place, setting, out)
    code = ATTACKS.replace("OUT", repr(str(out)))
    director.offer("exp", archive(code, requirements="--no-index\ntiny-package==1.0\n"), to=["node-1"])
    port = director.address.port
    options = ["-n", "node-1", "-dh", "localhost", "-dp", str(port), "-ec", "envoy_config.yaml"]
    options += ["-rc", str(tls.root_certificate), "-pk", str(tls.private_key), "-oc", str(tls.certificate)]
    with _victims(place, setting) as targets, _node(setting, home, wheels, options) as node:
        _wait(node, (out / "began").exists)
        pid = node.process.pid
        (guard,) = (int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in _children(task))
        targets |= {"agent": pid, "guard": guard, "key": str(tls.private_key), "state": str(place / "state")}
        targets |= {"home": str(home), "policy": str(home / "policy.yaml"), "secret": str(place / "secret")}
        (out / "new").write_text(json.dumps(targets))
        (out / "new").rename(out / "targets.json")
        _wait(node, lambda: "--training_" in node.output)
        results = json.loads((out / "results.json").read_text())
        return Outcome(
            {name: (bool(worked), why) for name, (worked, why) in results.items()},
            "--training_finished" in node.output,
            node.output,
        )


def _give(place: Path, setting: Setting, out: Path) -> None:
    """Let everything belong to the agent's user; and what the experiment may write, to its own."""
    place.chmod(0o755)
    for one in (place, *place.rglob("*")):
        if not setting.root and ROOT:
            os.chown(one, NOBODY, NOBODY)
        elif one.is_dir() or one.suffix in {".py", ".yaml"}:
            one.chmod(0o755)
    (place / "secret").chmod(0o600)
    out.chmod(0o777)


@contextlib.contextmanager
def _victims(place: Path, setting: Setting) -> Iterator[dict[str, Any]]:
    """Open the sockets of somebody else."""
    name = f"fedenvoy-hostile-{os.getpid()}-{setting}"
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{name}")
        abstract.listen()
        service = stack.enter_context(socket.socket(socket.AF_UNIX))
        service.bind(str(place / "service.sock"))
        (place / "service.sock").chmod(0o777)
        service.listen()
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_answer, args=(udp,))
        thread.start()
        port = udp.getsockname()[1]
        stack.callback(thread.join)
        stack.callback(_send, b"end", port)
        yield {
            "tcp": tcp.getsockname()[1],
            "udp": port,
            "abstract": name,
            "service": str(place / "service.sock"),
        }


def _answer(udp: socket.socket) -> None:
    while True:
        said, sender = udp.recvfrom(16)
        if said == b"end":
            return
        udp.sendto(b"!", sender)


def _send(words: bytes, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(words, ("127.0.0.1", port))


@contextlib.contextmanager
def _node(setting: Setting, home: Path, wheels: Path, options: list[str]) -> Iterator[Program]:
    as_whom = []
    if ROOT and not setting.root:
        as_whom = [sys.executable, str(Path(__file__).parents[1] / "support" / "nobody.py"), str(NOBODY)]
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": source_path(),
        "UV_FIND_LINKS": str(wheels),
        "HOME": str(home),
        "TMPDIR": "/tmp",
        "no_grpc_proxy": "localhost,127.0.0.1",
    }
    process = subprocess.Popen(
        [*as_whom, sys.executable, "-m", "fedenvoy", "start", *options],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    node = Program(process)
    try:
        yield node
    finally:
        process.terminate()
        try:
            node.end(30)
        except subprocess.TimeoutExpired:
            process.kill()
            node.end()
        assert process.stdout is not None
        process.stdout.close()


def _wait(node: Program, question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert node.process.poll() is None, node.output
        assert time.monotonic() < deadline, node.output
        time.sleep(0.02)


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()


@pytest.mark.parametrize("attack", NAMES)
@pytest.mark.parametrize("setting", OPEN, ids=str)
def test_an_attack_works_where_nothing_confines_it(setting: Setting, attack: str) -> None:
    worked, why = attacked(setting).attacks[attack]
    assert worked is not (attack in ROOT_ALONE and not setting.root), why


@pytest.mark.parametrize("attack", NAMES)
@pytest.mark.parametrize("setting", CONFINED, ids=str)
def test_an_attack_fails_behind_the_walls(setting: Setting, attack: str) -> None:
    assert not attacked(setting).attacks[attack][0]


@pytest.mark.parametrize("setting", [*OPEN, *CONFINED], ids=str)
def test_an_experiment_that_kills_its_parent_ends_only_where_nothing_confines_it(setting: Setting) -> None:
    assert attacked(setting).survived is (setting.level != "process")


@pytest.mark.parametrize("setting", CONFINED, ids=str)
def test_a_confined_experiment_has_directories_of_its_own(setting: Setting) -> None:
    for name in ("own_tmp", "own_home"):
        assert attacked(setting).attacks[name] == (True, "")


@pytest.mark.parametrize("setting", [*OPEN, *CONFINED], ids=str)
def test_the_log_says_how_far_experiments_are_kept_away(setting: Setting) -> None:
    assert f"experiments run isolated: {setting.level}" in attacked(setting).log
