"""The control socket: whatever comes in, the agent goes on, and the next one who asks gets an answer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.control.client import AnswerError, UnreachableError, ask
from fedenvoy.control.clients import MOST_CLIENTS
from fedenvoy.control.peers import Admission, Peer
from fedenvoy.control.protocol import REQUEST_LIMIT, SOCKET, TEXT_LIMIT, Request, reachable
from fedenvoy.control.server import ControlError, Controls, ControlServer

PATIENCE = 20.0


class Node:
    """Stands where a node would be: notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.in_hand = "exp"
        self.facts: Mapping[str, Any] = {"state": "Idle"}

    def cancel(self, reason: str) -> str:
        self.told.append(("cancel", reason))
        return self.in_hand

    @property
    def controls(self) -> Controls:
        def note(*words: str) -> Callable[..., None]:
            return lambda *more: self.told.append((*words, *more))

        return Controls(
            snapshot=lambda: self.facts,
            pause=note("pause"),
            resume=note("resume"),
            forget=note("forget"),
            cancel=self.cancel,
            stop=note("stop"),
            abort=note("abort"),
        )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "node"
    directory.mkdir(mode=0o700)
    return directory


@contextlib.contextmanager
def served(directory: Path, node: Node, time_limit: float = PATIENCE) -> Iterator[None]:
    server = ControlServer(directory, node.controls, time_limit=time_limit)
    server.start()
    try:
        yield
    finally:
        server.stop()


def connected(directory: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    with reachable(directory) as address:
        connection.connect(address)
    return connection


def raw(directory: Path, sent: bytes, *, half_closed: bool = False) -> dict[str, Any]:
    """Send bytes and give the answer."""
    with connected(directory) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
        if half_closed:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += connection.recv(65536)
        return dict(json.loads(answer))


def test_every_command_reaches_the_node(home: Path) -> None:
    node = Node()
    with served(home, node):
        assert ask(home, "snapshot") == {"ok": True, "snapshot": {"state": "Idle"}}
        for command in ("pause", "resume", "stop", "abort"):
            assert ask(home, command) == {"ok": True}
        assert ask(home, "forget", "größer \x1b[31m \udcff") == {"ok": True}
        assert ask(home, "cancel") == {"ok": True, "experiment": "exp"}
        assert ask(home, "cancel", "no more") == {"ok": True, "experiment": "exp"}
    assert node.told == [
        ("pause",),
        ("resume",),
        ("stop",),
        ("abort",),
        ("forget", "größer \x1b[31m \udcff"),
        ("cancel", ""),
        ("cancel", "no more"),
    ]


BAD = {
    "no JSON": (b"status\n", "line of JSON"),
    "no text": (b"\xff\xfe\n", "line of JSON"),
    "nothing": (b"\n", "line of JSON"),
    "a list": (b"[1]\n", "JSON object"),
    "nested": (b"[" * 8000 + b"\n", "line of JSON"),
    "no command": (b"{}\n", "`command` must be one of"),
    "unknown command": (b'{"command": "dance"}\n', "`command` must be one of"),
    "command of another type": (b'{"command": ["stop"]}\n', "`command` must be one of"),
    "one word too many": (b'{"command": "stop", "when": "now"}\n', "`stop` takes nothing else, and not 'when'"),
    "the wrong word": (b'{"command": "cancel", "why": "x"}\n', "`cancel` takes `reason` alone"),
    "no reason": (b'{"command": "review_approve", "case": "1", "name": "x"}\n', "needs a reason: `reason`"),
    "no name": (b'{"command": "forget"}\n', "`forget` needs the name"),
    "a name of another type": (b'{"command": "forget", "experiment": 7}\n', "must be a text"),
    "a long reason": (
        json.dumps({"command": "cancel", "reason": "x" * (TEXT_LIMIT + 1)}).encode() + b"\n",
        f"at most {TEXT_LIMIT} characters",
    ),
    "too long": (b" " * (REQUEST_LIMIT + 5) + b"\n", f"longer than {REQUEST_LIMIT} bytes"),
    "far too long": (b"x" * (4 * 2**20), f"longer than {REQUEST_LIMIT} bytes"),
}


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.replace(" ", "_"))
def test_a_request_that_is_wrong_gets_one_sentence_and_does_nothing(home: Path, case: str) -> None:
    sent, expected = BAD[case]
    node = Node()
    with served(home, node):
        answer = raw(home, sent)
        assert answer["ok"] is False
        assert expected in answer["error"]
        assert "\n" not in answer["error"]
        assert ask(home, "snapshot")["ok"]
    assert not node.told


def test_a_request_without_a_line_end_is_not_done(home: Path) -> None:
    node = Node()
    with served(home, node):
        answer = raw(home, b'{"command": "stop"}', half_closed=True)
    assert "does not end with a line end" in answer["error"]
    assert not node.told


def test_a_request_may_come_in_pieces(home: Path) -> None:
    node = Node()
    with served(home, node), connected(home) as connection:
        for piece in (b'{"comm', b'and": "pau', b'se"}', b"\n"):
            connection.sendall(piece)
            ask(home, "snapshot")  # the server has looked at the piece meanwhile
        assert json.loads(connection.recv(65536)) == {"ok": True}
    assert node.told == [("pause",)]


def test_clients_that_hang_hold_nobody_and_are_dropped_in_time(home: Path) -> None:
    node = Node()
    node.facts = {"long": "x" * 4 * 2**19}  # more than a connection holds
    with contextlib.ExitStack() as stack:
        stack.enter_context(served(home, node, time_limit=0.5))
        silent = stack.enter_context(connected(home))
        half = stack.enter_context(connected(home))
        half.sendall(b'{"command":')
        greedy = stack.enter_context(connected(home))
        greedy.sendall(b'{"command": "snapshot"}\n')  # and never reads
        assert ask(home, "pause", timeout=PATIENCE) == {"ok": True}
        assert silent.recv(1) == b""
        assert half.recv(1) == b""
        hung_up = select.poll()
        hung_up.register(greedy, 0)  # its end alone: whoever read now could still be in time
        assert hung_up.poll(PATIENCE * 1000)
        received = b"".join(iter(lambda: greedy.recv(2**20), b""))
        assert len(received) < len(node.facts["long"]), "what it did not take in time was not kept for it"


def test_a_client_that_goes_away_in_between_harms_nothing(home: Path) -> None:
    node = Node()
    node.facts = {"long": "x" * 4 * 2**19}
    with served(home, node):
        for sent in (b"", b'{"comm', b'{"command": "snapshot"}\n'):
            with connected(home) as connection:
                connection.sendall(sent)
        assert ask(home, "pause") == {"ok": True}


def test_many_clients_at_once(home: Path) -> None:
    node = Node()
    answers: list[dict[str, Any]] = []

    def work() -> None:
        for _ in range(25):
            answers.append(ask(home, "snapshot", timeout=PATIENCE))  # noqa: PERF401

    with served(home, node):
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [{"ok": True, "snapshot": {"state": "Idle"}}] * 200


def test_too_many_clients_lock_nobody_out(home: Path) -> None:
    node = Node()
    with contextlib.ExitStack() as stack:
        stack.enter_context(served(home, node))
        waiting = [stack.enter_context(connected(home)) for _ in range(MOST_CLIENTS + 1)]
        assert ask(home, "pause") == {"ok": True}
        assert waiting[0].recv(1) == b"", "the first had to go"
        waiting[-1].sendall(b'{"command": "resume"}\n')
        assert json.loads(waiting[-1].recv(65536)) == {"ok": True}


def test_a_fault_in_a_callable_ends_the_request_alone(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    node.facts = {"cannot be written": object()}
    with served(home, node):
        with pytest.raises(AnswerError, match="its log says why"):
            ask(home, "snapshot")
        assert ask(home, "pause") == {"ok": True}
    assert "could not be carried out" in caplog.text


# ---- The socket itself


def test_only_this_user_can_reach_it(home: Path) -> None:
    home.chmod(0o755)
    before = os.umask(0)
    try:
        with served(home, Node()):
            assert stat.S_IMODE((home / SOCKET).stat().st_mode) == 0o600
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
    finally:
        os.umask(before)


STRANGER = """
import contextlib, os, socket, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/proc/self/fd/" + sys.argv[1])
    with contextlib.suppress(BrokenPipeError):  # it is refused before it asks
        connection.sendall(b'{"command": "stop"}' + bytes([10]))
    print(connection.recv(65536).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_even_where_the_file_s_mode_lets_it_in(home: Path) -> None:
    node = Node()
    with served(home, node):
        (home / SOCKET).chmod(0o666)
        assert "may control it" in asked_by(home, STRANGER)
        assert ask(home, "snapshot")["ok"]
    assert not node.told


INSIDE = """
import contextlib, ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
flags = int(sys.argv[2])
if libc.unshare(flags):
    sys.exit(os.strerror(ctypes.get_errno()))
child = os.fork()  # a namespace of process ids is entered by children alone
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/proc/self/fd/" + sys.argv[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(b'{"command": "stop"}' + bytes([10]))
    print(connection.recv(65536).decode())
"""
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000


@pytest.mark.parametrize(("flags", "word"), [(CLONE_NEWUSER, "user"), (CLONE_NEWUSER | CLONE_NEWPID, "user")])
def test_a_process_in_other_namespaces_is_refused_as_an_experiment_would_be(home: Path, flags: int, word: str) -> None:
    node = Node()
    with served(home, node):
        assert f"lives in another {word} namespace" in asked_by(home, INSIDE, str(flags))
        assert ask(home, "snapshot")["ok"]
    assert not node.told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make one without a user namespace")
def test_a_process_in_another_namespace_of_process_ids_is_refused(home: Path) -> None:
    node = Node()
    with served(home, node):
        assert "lives in another process id namespace" in asked_by(home, INSIDE, str(CLONE_NEWPID))
    assert not node.told


def asked_by(home: Path, program: str, *arguments: str) -> str:
    """Give what a program is answered that gets a descriptor of the socket."""
    descriptor = os.open(home / SOCKET, os.O_PATH)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, str(descriptor), *arguments],
            pass_fds=[descriptor],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(descriptor)
    assert not done.returncode, done.stderr
    return done.stdout


MEMBER = """
import contextlib, os, socket, sys
os.setgroups([int(sys.argv[2])]), os.setgid(65534), os.setuid(int(sys.argv[3]))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    with contextlib.suppress(BrokenPipeError):  # it may be refused before it asks
        connection.sendall(sys.argv[4].encode() + bytes([10]))
    print(connection.recv(65536).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_members_of_the_group_that_may_review_may_do_that_and_nothing_else() -> None:
    group, told, home = 54321, list[tuple[str, int, bool]](), Path()

    def review(request: Request, peer: Peer) -> Mapping[str, Any]:
        told.append((request.command, peer.uid, peer.owner))
        return {"waiting": []}

    def asked(command: str, *, gid: int = group, uid: int = 54322) -> str:
        argv = [str(home / SOCKET), str(gid), str(uid), json.dumps({"command": command})]
        done = subprocess.run(
            [sys.executable, "-c", MEMBER, *argv], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout or done.stderr

    with tempfile.TemporaryDirectory() as top:
        home = Path(top) / "node"
        Path(top).chmod(0o755)
        home.mkdir()
        node = Node()
        controls = dataclasses.replace(node.controls, review=review)
        server = ControlServer(home, controls, admission=Admission(group=group, banned=frozenset({54323})))
        server.start()
        try:
            assert stat.S_IMODE(home.stat().st_mode) == 0o710
            assert stat.S_IMODE((home / SOCKET).stat().st_mode) == 0o660
            assert '"waiting": []' in asked("review_list")
            assert '"ok": true' in asked("snapshot")
            assert "nothing else" in asked("stop")
            assert "experiments run as this user" in asked("review_list", uid=54323)
            assert "Permission denied" in asked("review_list", gid=54399)
        finally:
            server.stop()
    assert told == [("review_list", 54322, False)]
    assert not node.told


def test_it_is_removed_at_the_end(home: Path) -> None:
    with served(home, Node()):
        assert stat.S_ISSOCK((home / SOCKET).stat().st_mode)
    assert not list(home.iterdir())
    with pytest.raises(UnreachableError, match="No such file"):
        ask(home, "snapshot")


@pytest.mark.parametrize("left", ["socket", "file", "link"])
def test_what_a_dead_agent_left_is_replaced(home: Path, tmp_path: Path, left: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("data")
    if left == "socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(home / SOCKET))
        with pytest.raises(UnreachableError, match="refused"):
            ask(home, "snapshot")
    elif left == "file":
        (home / SOCKET).write_text("")
    else:
        (home / SOCKET).symlink_to(precious)
    with served(home, Node()):
        assert ask(home, "snapshot")["ok"]
    assert precious.read_text() == "data"


def test_one_that_stands_there_in_its_place_is_not_removed(home: Path) -> None:
    server = ControlServer(home, Node().controls)
    server.start()
    (home / SOCKET).unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(home / SOCKET))
        server.stop()
        assert (home / SOCKET).exists()


@pytest.mark.parametrize("length", [90, 108, 200, 250])
def test_a_path_longer_than_a_socket_s_address_works(tmp_path: Path, length: int) -> None:
    home = tmp_path / ("x" * length)
    home.mkdir(mode=0o700)
    with served(home, Node()):
        assert (home / SOCKET).exists()
        assert ask(home, "snapshot")["ok"]
    assert not (home / SOCKET).exists()


def test_a_socket_that_cannot_be_opened_is_told_in_a_sentence(home: Path) -> None:
    (home / SOCKET).mkdir()
    server = ControlServer(home, Node().controls)
    with pytest.raises(ControlError, match=r"control\.sock cannot be opened .*the agent works"):
        server.start()
    server.stop()
    with pytest.raises(ControlError, match="cannot be opened"):
        ControlServer(home / "not there", Node().controls).start()


def test_a_client_waits_for_a_stopped_agent_only_so_long(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(home / SOCKET))
        frozen.listen()
        with pytest.raises(UnreachableError, match="timed out"):
            ask(home, "snapshot", timeout=0.2)


@pytest.mark.parametrize("answer", [b"", b"{}\n", b"no JSON\n", b"[]\n", b'{"ok": false}\n'])
def test_an_answer_that_cannot_be_understood_is_told_in_a_sentence(home: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as strange:
        strange.bind(str(home / SOCKET))
        strange.listen()

        def work() -> None:
            connection, _ = strange.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=work)
        thread.start()
        with pytest.raises((UnreachableError, AnswerError)) as caught:
            ask(home, "snapshot")
        thread.join()
    assert "without an answer" in str(caught.value) or "another version" in str(caught.value)
