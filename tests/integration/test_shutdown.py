"""Every state, either signal, once, twice and thrice, the director there or gone: the process ends, and in order."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector
from support.archives import archive
from support.held import HOLD, is_held
from support.processes import Program, node_program, program, write_home

TERM, INT = signal.SIGTERM, signal.SIGINT
GRACE = 5.0
"""Seconds in which a node that has nothing in hand ends."""

SLOW_SHARD = """
import pathlib, time
class NumbersShard:
    def __init__(self, rank):
        pathlib.Path({began!r}).touch()
        time.sleep(600)
"""
TRAINS = (
    HOLD
    + """
import signal, time
def run(shard, devices, plan):
    signal.signal(signal.SIGTERM, signal.{answer})
    hold({began!r})
    while True:
        time.sleep(0.05)
"""
)
FAILS = "def run(*_):\n    raise ValueError('no')\n"


class Scene:
    """A director, a node's directory, and how to bring the node into each state."""

    def __init__(self, place: Path, director: SandboxDirector) -> None:
        self.director = director
        self.home = place / "home"
        self.began = place / "began"
        self._silent: socket.socket | None = None
        write_home(self.home, place / "state")

    @contextlib.contextmanager
    def node_in(self, state: str, *, stubborn: bool) -> Iterator[Program]:
        """Run a node that is in a state; `stubborn`: its experiment does not end for a SIGTERM."""
        if state != "Disconnected":
            self.director.start()
        if state == "describing":
            (self.home / "my_shard.py").write_text(SLOW_SHARD.format(began=str(self.began)), encoding="utf-8")
        elif state == "Registered":
            self.director.hold("UpdateEnvoyStatus")
        elif state == "ReviewingPlan":
            self.director.hold("GetExperimentData")
            self._offer(archive())
        elif state == "InstallingRequirements":
            self._offer(archive(requirements=f"--index-url http://127.0.0.1:{self._silent_port()}/simple\nnothing\n"))
        elif state == "Training":
            self._offer(archive(TRAINS.format(began=str(self.began), answer="SIG_IGN" if stubborn else "SIG_DFL")))
        elif state == "Reporting":
            self.director.hold("SetExperimentFailed")
            self._offer(archive(FAILS))
        with node_program(self.home, self.director.address.port) as node:
            self._wait(node, state)
            yield node

    def _wait(self, node: Program, state: str) -> None:
        if state == "describing":
            wait_for(self.began)
        elif state == "Disconnected":
            node.wait_line("registration_failed")
        else:
            node.wait_line(f"--> {state}")
        if state == "Training":
            wait_for(self.began)
        elif state == "ReviewingPlan":
            self.director.wait_for_calls("GetExperimentData")
        elif state == "Reporting":
            self.director.wait_for_calls("SetExperimentFailed")
        elif state == "InstallingRequirements":
            assert self._silent is not None
            self._silent.accept()[0].close()  # uv asked for a package, and will ask again

    def _offer(self, data: bytes) -> None:
        self.director.offer("exp", data, to=["node-1"])

    def _silent_port(self) -> int:
        """Listen where uv is to look for packages; nobody answers."""
        self._silent = socket.create_server(("127.0.0.1", 0))
        self._silent.settimeout(40)
        return int(self._silent.getsockname()[1])

    def close(self) -> None:
        if self._silent is not None:
            self._silent.close()
        self.director.close()


def wait_for(path: Path) -> None:
    """Wait for a file that another process makes."""
    deadline = time.monotonic() + 40
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.01)


def assert_gone(held: Path) -> None:
    """Hold an experiment's process to being gone within a while."""
    deadline = time.monotonic() + 20
    while is_held(held):
        assert time.monotonic() < deadline, "the experiment's process outlived its agent"
        time.sleep(0.01)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, SandboxDirector(period=1.0))
    yield made
    made.close()


@dataclass(frozen=True)
class Case:
    """One cell of the matrix.

    Attributes:
        state: Where the node is; "describing" is Disconnected before the first dial.
        number: The signal.
        times: How often it is sent.
        peer_gone: Whether the director has gone first.

    """

    state: str
    number: signal.Signals
    times: int
    peer_gone: bool = False

    @property
    def lasting(self) -> bool:
        """Whether a first signal does not end the node by itself, so that a second one is another matter.

        A report whose director has gone waits in the outbox, and the node is Disconnected.
        """
        return self.state == "Training" or (self.state == "Reporting" and not self.peer_gone)

    def __str__(self) -> str:
        return f"{self.state}-{self.number.name}-{self.times}{'-gone' * self.peer_gone}"


STATES = (
    *("describing", "Disconnected", "Registered", "Idle"),
    *("ReviewingPlan", "InstallingRequirements", "Training", "Reporting"),
)

CASES = [
    *(Case(state, number, times) for state, number, times in product(STATES, (TERM, INT), (1, 2, 3))),
    *(Case(state, TERM, times, peer_gone=True) for state in ("Idle", "Training", "Reporting") for times in (1, 2)),
]
IN_EVERY_RUN = {
    *(Case("describing", TERM, 1), Case("Disconnected", INT, 2), Case("Registered", TERM, 3), Case("Idle", INT, 1)),
    *(Case("ReviewingPlan", TERM, 1), Case("InstallingRequirements", INT, 2), Case("Training", INT, 1)),
    *(Case("Training", TERM, 3), Case("Reporting", INT, 2)),
    *(Case("Idle", TERM, 1, peer_gone=True), Case("Training", TERM, 2, peer_gone=True)),
}
"""Each state, either signal, every count; the rest is for the night."""


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=str(case), marks=() if case in IN_EVERY_RUN else pytest.mark.nightly) for case in CASES],
)
def test_B84_shutdown_matrix(scene: Scene, case: Case) -> None:
    """B79 is part of it: both signals in each state end the process, with the code that says how."""
    with scene.node_in(case.state, stubborn=case.times == 3) as node:
        if case.peer_gone:
            scene.director.stop()
            node.wait_line("registration_failed" if case.state == "Idle" else "director_lost")
        begun = time.monotonic()
        node.send(case.number)
        for event in ("stop_requested", "abort_requested")[: case.times - 1]:
            if case.lasting:
                node.wait_line(event)  # signals of a kind merge while one is pending
            with contextlib.suppress(ProcessLookupError):
                node.send(case.number)
        code = node.end()
        took = time.monotonic() - begun
    if not case.lasting:
        assert took < GRACE
        assert code in ({Exit.OK} if case.times == 1 else {Exit.OK, Exit.ABORTED})
    else:
        assert code == (Exit.OK if case.times == 1 else Exit.ABORTED)
    assert "Traceback" not in node.output
    assert "did not end in time" not in node.output
    if case.state == "Training":
        assert_gone(scene.began)


def test_B79_a_third_signal_ends_a_process_whose_owner_hangs(scene: Scene) -> None:
    """Also where Python code of the main thread is not reached any more, as during a write to a dead disk."""
    code = (
        "import ctypes, signal, sys\n"
        "from fedenvoy.store import Store\n"
        "usual = Store.append\n"
        "def append(self, record):\n"
        "    usual(self, record)\n"
        "    if str(record.target) == 'Idle':\n"
        "        print('now it hangs')\n"
        "        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})\n"
        "        ctypes.CDLL(None).sleep(600)\n"
        "Store.append = append\n"
        "from fedenvoy.cli import main\n"
        "sys.argv[0] = 'fedenvoy'\n"
        "main()\n"
    )
    scene.director.start()
    arguments = ("start", "-n", "node-1", "-dh", "127.0.0.1", "-dp", str(scene.director.address.port))
    with program(scene.home, "-c", code, *arguments, "--disable-tls") as node:
        node.wait_line("now it hangs")
        for number in (TERM, INT, TERM):
            node.send(number)
            time.sleep(0.05)  # signals of a kind merge while one is pending, and nothing tells when it is taken
        assert node.end() == Exit.ABORTED


LEFT_BY_A_PLUGIN = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from fedenvoy.cli import main
ThreadPoolExecutor(1).submit(Event().wait)
sys.argv[0] = 'fedenvoy'
main()
"""
RAISES = """
import sys
from fedenvoy.core import Core
from fedenvoy.cli import main
usual = Core.handle
def handle(self, message, now):
    if self.state == 'Idle':
        raise RuntimeError('a mistake in the owner thread')
    return usual(self, message, now)
Core.handle = handle
sys.argv[0] = 'fedenvoy'
main()
"""
MAIN_THREAD_DIES = """
import sys, threading
from fedenvoy import Envoy
sys.path.insert(0, '.')
from my_shard import NumbersShard
envoy = Envoy(shard_name='node-1', director_host='127.0.0.1', director_port=int(sys.argv[1]),
              shard_descriptor=NumbersShard(), tls=False)
threading.Thread(target=envoy.start, daemon=True).start()
print('up', flush=True)
sys.stdin.readline()
raise RuntimeError('the main thread died')
"""


def test_B80_a_pool_thread_of_somebody_else_s_does_not_hold_the_process(scene: Scene) -> None:
    scene.director.start()
    arguments = ("start", "-n", "node-1", "-dh", "127.0.0.1", "-dp", str(scene.director.address.port))
    with program(scene.home, "-c", LEFT_BY_A_PLUGIN, *arguments, "--disable-tls") as node:
        node.wait_line("--> Idle")
        node.send(TERM)
        assert node.end() == Exit.OK
    assert "left behind, as nothing ends them: ThreadPoolExecutor" in node.output
    assert "session ended: stopped as asked" in node.output


LATE_SIGNALS = """
import os, signal, sys
from fedenvoy.service.manager import ServiceManager
from fedenvoy.cli import main
when, late, usual = sys.argv.pop(), signal.Signals[sys.argv.pop()], ServiceManager.close
def close(self):
    usual(self)
    os.kill(os.getpid(), late)
class TornDown:
    def __del__(self, kill=os.kill, getpid=os.getpid, late=late):
        kill(getpid(), late)
if when == 'put away':
    ServiceManager.close = close
else:
    main.torn_down = TornDown()
sys.argv[0] = 'fedenvoy'
main()
"""


@pytest.mark.parametrize("late", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("when", ["put away", "torn down"])
def test_B84_a_signal_between_the_end_of_the_node_and_that_of_its_process_changes_no_exit_code(
    scene: Scene, when: str, late: str
) -> None:
    """As the second of two that come close together, while things are put away or the interpreter is torn down."""
    scene.director.start()
    arguments = ("start", "-n", "node-1", "-dh", "127.0.0.1", "-dp", str(scene.director.address.port))
    with program(scene.home, "-c", LATE_SIGNALS, *arguments, "--disable-tls", late, when) as node:
        node.wait_line("--> Idle")
        node.send(TERM)
        assert node.end() == Exit.OK
    assert "session ended: stopped as asked" in node.output
    assert "Aborted" not in node.output
    assert "Traceback" not in node.output


def test_B80_an_error_in_the_owner_thread_ends_the_process(scene: Scene) -> None:
    scene.director.start()
    arguments = ("start", "-n", "node-1", "-dh", "127.0.0.1", "-dp", str(scene.director.address.port))
    with program(scene.home, "-c", RAISES, *arguments, "--disable-tls") as node:
        assert node.end() == Exit.FAILED
    assert "unexpected RuntimeError: a mistake in the owner thread" in node.output
    assert "left behind" not in node.output


def test_B80_a_program_whose_main_thread_dies_beside_the_node_ends(scene: Scene) -> None:
    scene.director.start()
    state = {"STATE_DIRECTORY": os.fspath(scene.home / "state")}
    with program(scene.home, "-c", MAIN_THREAD_DIES, str(scene.director.address.port), environment=state) as running:
        scene.director.wait_for_calls("WaitExperiment")
        assert running.process.stdin is not None
        running.process.stdin.write("\n")
        running.process.stdin.close()
        assert running.end() == 1
    assert "the main thread died" in running.output
