"""A confined experiment's process: that it works, what it sees, and that its end is the same as anybody's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.engines.callable import CallableEngine
from fedenvoy.engines.launch import Launch, launch
from fedenvoy.engines.process import run_child
from fedenvoy.ports import Confinement, RunSpec
from fedenvoy.processes import members
from integration.test_engines_process import CLEARED, DAEMON, WAIT_FOR_EVER
from support.children import SHARD, Pipe, make, run, running

NOBODY = 65534
LEVELS = ("sandbox", "user") if os.geteuid() == 0 else ("sandbox",)
KILLED = ["sandbox", pytest.param("user", marks=pytest.mark.nightly)]
"""The second was seen to fail where the interpreter lies in a place that the other user cannot reach."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "shard.py").write_text(SHARD)
    for place in (home / "shard.py", home):
        place.chmod(0o755)
    return home


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "pipe")
    pipe.path.chmod(0o666)
    yield pipe
    pipe.close()


def confined(spec: RunSpec, level: str, *write: Path, **more: object) -> RunSpec:
    whom = {"uid": NOBODY, "gid": NOBODY} if level == "user" else {}
    return evolve(spec, confinement=Confinement(level=level, read=(spec.home,), write=write, **whom, **more))  # type: ignore[arg-type]


# What it sees


@pytest.mark.parametrize("level", LEVELS)
def test_a_confined_child_gets_everything_and_its_numbers_come_back(home: Path, level: str) -> None:
    spec = make(
        home,
        f"""
        import pathlib, socket, tempfile
        assert devices == (0, 1) and plan["callable"]["params"] == {{1: "one"}}
        assert shard.made_in == {str(home)!r} and os.getcwd().endswith("/run/workspace")
        assert os.getuid() == {NOBODY if level == "user" else os.getuid()}, os.getuid()
        pathlib.Path("made").write_text("here")
        assert tempfile.gettempdir() == "/tmp"
        pathlib.Path("/tmp/mine").touch()
        (pathlib.Path.home() / ".cache").mkdir()
        listening = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(listening.getsockname()).close()
        assert subprocess.run(["/bin/sh", "-c", "exit 3"]).returncode == 3
        assert sorted(os.listdir("/proc/self/fd")) == ["0", "1", "2", "3", "4"], os.listdir("/proc/self/fd")
        assert os.getpgid(0) == os.getpid() != os.getsid(0)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        assert {{int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")}} == {{0}}
        assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
        print("training")
        return {{"loss": 0.5}}
        """,
    )
    result = run(confined(spec, level))
    assert result.ok, result.detail
    assert result.metrics == {"loss": 0.5}
    assert result.tail == "training"
    assert (spec.workspace / "made").read_text() == "here"
    assert (spec.run_dir / "child/tmp/mine").exists()
    assert not Path("/tmp/mine").exists()


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_not_named_is_not_there_and_what_is_hidden_neither(home: Path, level: str) -> None:
    (home / "secrets").mkdir()
    (home / "secrets/deep").mkdir()
    (home / "key.pem").write_text("key")
    for place in (home / "secrets", home / "secrets/deep", home / "key.pem"):
        place.chmod(0o777)
    (home.parent / "beside").touch()
    (home / "secrets/deep/shown").write_text("shown")
    (home / "link").symlink_to(home.parent / "beside")
    spec = make(
        home,
        f"""
        home = {str(home)!r}
        assert os.listdir(home + "/secrets") == ["deep"]
        assert open(home + "/secrets/deep/shown").read() == "shown"
        for path in (home + "/key.pem", home + "/link", home + "/../beside", "/run", "/etc/shadow", "/boot"):
            try:
                open(path).read()
            except (FileNotFoundError, PermissionError):
                continue
            raise AssertionError(path)
        for path in (home, home + "/secrets", "/", "/usr", "/etc", "/dev"):
            try:
                open(path + "/new", "w")
            except OSError:
                continue
            raise AssertionError(path)
        """,
    )
    walls = {"hide": (home / "secrets", home / "key.pem")}
    spec = confined(spec, level, **walls)
    assert spec.confinement is not None
    spec = evolve(spec, confinement=evolve(spec.confinement, read=(home, home / "secrets/deep")))
    result = run(spec)
    assert result.ok, result.detail


@pytest.mark.parametrize("level", LEVELS)
def test_links_on_the_way_lead_where_they_led(home: Path, level: str) -> None:
    data = home.parent / "disk" / "data"
    data.mkdir(parents=True)
    (data / "row").write_text("1")
    (home.parent / "mnt").symlink_to(home.parent / "disk")
    spec = make(home, f"return {{'row': float(open({str(home.parent / 'mnt/data/row')!r}).read())}}")
    spec = confined(spec, level)
    assert spec.confinement is not None
    spec = evolve(spec, confinement=evolve(spec.confinement, read=(home, home.parent / "mnt/data")))
    result = run(spec)
    assert result.metrics == {"row": 1}, result.detail


def test_a_result_is_read_as_nothing_where_the_child_put_something_else(home: Path) -> None:
    """It may write where its result lies; a link or a pipe there is not followed, nor waited for."""
    for number, put in enumerate(("os.symlink('/etc/passwd', place)", "os.mkfifo(place)", "os.mkdir(place)")):
        place = str(home.parent / f"run{number}" / "child/result.json")
        body = f"place = {place!r}\nos.unlink(place)\n{put}\nos._exit(0)"
        result = run(confined(make(home, body, name=f"run{number}"), "sandbox"))
        assert result.error == "exited with 0 before it was finished"


def test_the_specification_holds_no_way_to_the_key(home: Path) -> None:
    spec = confined(make(home, "pass"), "sandbox")
    assert run(spec).ok
    text = (spec.run_dir / "spec.json").read_text()
    assert '"tls": null' in text
    assert str(os.getpid()) not in text


# Its end


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("source", "error", "code"),
    [
        ("raise RuntimeError('deliberate')", "RuntimeError: deliberate", "exception"),
        ("sys.exit(3)", "exited with 3", "exit 3"),
        ("os._exit(7)", "exited with 7", "exit 7"),
        ("os.abort()", "killed by signal 6 (SIGABRT)", "signal 6"),
    ],
)
def test_B54_an_end_is_told_as_without_walls(home: Path, level: str, source: str, error: str, code: str) -> None:
    result = run(confined(make(home, source), level))
    assert (result.ok, result.error, result.code) == (False, error, code)


@pytest.mark.parametrize("level", LEVELS)
def test_a_confined_child_may_use_its_grace_to_save_its_work(home: Path, pipe: Pipe, level: str) -> None:
    save = """
    def save(*_):
        os.write(pipe.fileno(), b"saved\\n")  # a print that it interrupts may not be over
        sys.exit()
    signal.signal(signal.SIGTERM, save)
    """
    cancel = Cancel()
    body = textwrap.dedent(WAIT_FOR_EVER).replace("print(os", textwrap.dedent(save) + "print(os")
    with running(confined(make(home, body), level, pipe.path), cancel, PIPE=str(pipe.path)) as outcome:
        pipe.line()
        cancel.cancel()
        assert pipe.line() == "saved"
        pipe.wait_end()
    assert isinstance(outcome[0], Cancelled)


@pytest.mark.parametrize("level", LEVELS)
def test_a_confined_child_that_does_not_listen_is_killed_after_its_grace(home: Path, pipe: Pipe, level: str) -> None:
    cancel = Cancel()
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + textwrap.dedent(WAIT_FOR_EVER)
    spec = confined(make(home, deaf), level, pipe.path)
    with running(spec, cancel, grace=0.1, PIPE=str(pipe.path)) as outcome:
        pipe.line()
        cancel.cancel()
        pipe.wait_end()
    assert isinstance(outcome[0], Cancelled)


def test_a_confined_child_that_ignores_nothing_ends_by_being_asked(home: Path, pipe: Pipe) -> None:
    """The first process of a namespace is deaf to signals it does not wait for; the experiment must not be that one."""
    cancel = Cancel()
    spec = confined(make(home, WAIT_FOR_EVER), "sandbox", pipe.path)
    with running(spec, cancel, grace=3600, PIPE=str(pipe.path)) as outcome:
        pipe.line()
        cancel.cancel()
        pipe.wait_end()
    assert isinstance(outcome[0], Cancelled)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("clear", ["pass", CLEARED], ids=["marked", "cleared"])
def test_B83_a_confined_grandchild_is_gone_when_the_run_has_ended(
    home: Path, pipe: Pipe, clear: str, level: str
) -> None:
    spec = confined(make(home, DAEMON.format(clear=clear) + "    return {'done': 1}\n"), level, pipe.path)
    result = run(spec, PIPE=str(pipe.path))
    assert result.metrics == {"done": 1}, result.detail
    assert pipe.line() == "daemon runs"
    pipe.wait_end()


AGENT = """
import os, pickle, sys
from pathlib import Path
from fedenvoy.cancel import Cancel
from fedenvoy.engines.process import run_child
spec, program = pickle.loads(Path(sys.argv[1]).read_bytes())
run_child(spec, program, Path(sys.executable), env=dict(os.environ), grace=10, cancel=Cancel())
"""


@contextlib.contextmanager
def other_agent(spec: RunSpec, pipe: Pipe) -> Iterator[subprocess.Popen[bytes]]:
    import pickle

    order = spec.run_dir / "order"
    order.write_bytes(pickle.dumps((spec, CallableEngine().program())))
    environment = {**os.environ, "PIPE": str(pipe.path)}
    environment["PYTHONPATH"] = os.pathsep.join(place for place in sys.path if place)
    with subprocess.Popen([sys.executable, "-c", AGENT, str(order)], env=environment) as agent:
        try:
            yield agent
        finally:
            agent.kill()


@pytest.mark.parametrize("level", KILLED)
def test_B83_nothing_confined_survives_when_the_agent_is_killed(home: Path, pipe: Pipe, level: str) -> None:
    spec = confined(make(home, DAEMON.format(clear=CLEARED) + "    time.sleep(3600)\n"), level, pipe.path)
    with other_agent(spec, pipe) as agent:
        assert pipe.line() == "daemon runs"
        agent.send_signal(signal.SIGKILL)
        pipe.wait_end()


@pytest.mark.parametrize("level", KILLED)
def test_B83_nothing_confined_survives_its_guard_although_its_agent_cannot_act(
    home: Path, pipe: Pipe, level: str
) -> None:
    spec = confined(make(home, DAEMON.format(clear=CLEARED) + "    time.sleep(3600)\n"), level, pipe.path)
    with other_agent(spec, pipe) as agent:
        assert pipe.line() == "daemon runs"
        agent.send_signal(signal.SIGSTOP)
        guard = int(Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text())
        os.kill(guard, signal.SIGKILL)
        pipe.wait_end()


# Any program, and none


def test_any_program_can_be_run_confined(tmp_path: Path) -> None:
    argv = ("/bin/sh", "-c", "pwd; echo $HOME; ls /proc | grep -c '^[0-9]'; echo x > /tmp/y; exit 4")
    what = Launch(argv=argv, cwd=Path("/usr"), env={"PATH": "/bin:/usr/bin"}, confinement=Confinement(level="sandbox"))
    ending = launch(what, tmp_path, grace=5, cancel=Cancel())
    assert ending.status == "exit 4"
    assert ending.tail.splitlines()[:2] == ["/usr", str(tmp_path / "child/home")]
    assert int(ending.tail.splitlines()[2]) <= 4
    assert (tmp_path / "child/tmp/y").exists()


def test_a_program_that_is_not_there_is_one_sentence(home: Path) -> None:
    spec = confined(make(home, "pass"), "sandbox")
    result = run_child(spec, CallableEngine().program(), home / "no/python", env={}, grace=1, cancel=Cancel())
    assert result.code == "start"
    assert result.error == f"the process could not be started: {home}/no/python: No such file or directory"


def test_walls_that_cannot_be_built_are_an_error_and_nothing_runs(tmp_path: Path) -> None:
    """Inside a sandbox no other one can be made."""
    inner = f"""
import sys
sys.path[:0] = {[place for place in sys.path if place]!r}
from pathlib import Path
from fedenvoy.cancel import Cancel
from fedenvoy.engines.launch import ConfinementError, Launch, launch
from fedenvoy.ports import Confinement
what = Launch(argv=("/bin/touch", "/tmp/ran"), cwd=Path("/"), env={{}}, confinement=Confinement(level="sandbox"))
try:
    launch(what, Path("/tmp"), grace=1, cancel=Cancel())
except ConfinementError as error:
    print(error)
"""
    from fedenvoy.engines.interpreters import places_of

    read = (*places_of(Path(sys.executable)), *(Path(place) for place in sys.path if place))
    walls = Confinement(level="sandbox", read=read)
    what = Launch(argv=(sys.executable, "-c", inner), cwd=Path("/"), env=dict(os.environ), confinement=walls)
    ending = launch(what, tmp_path, grace=5, cancel=Cancel())
    assert ending.tail == "unshare: Operation not permitted"
    assert not (tmp_path / "child/tmp/ran").exists()


def test_the_processes_of_a_confined_run_are_found_by_its_mark(home: Path, pipe: Pipe) -> None:
    import json

    cancel = Cancel()
    spec = confined(make(home, WAIT_FOR_EVER), "sandbox", pipe.path)
    with running(spec, cancel, PIPE=str(pipe.path)):
        pipe.line()
        token = json.loads((spec.run_dir / "spec.json").read_text())["token"]
        assert list(members(token))
        cancel.cancel()
        pipe.wait_end()
    assert not list(members(token))
