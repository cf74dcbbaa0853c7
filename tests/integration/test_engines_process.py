"""An experiment's process: what it sees, how its end is told, and that nothing of it survives its end."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import fedenvoy.engines.child as child_scripts
import pytest
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.engines.callable import CallableEngine
from fedenvoy.engines.openfl import OpenflEngine
from fedenvoy.engines.process import child_environment, run_child, visible_devices
from fedenvoy.ports import RunSpec
from fedenvoy.processes import members
from fedenvoy.workspace.runs import clean_leftovers
from support.children import DEADLINE, SHARD, Pipe, make, run, running

# What a child sees


def test_a_child_gets_shard_devices_and_plan_and_its_numbers_come_back(home: Path) -> None:
    spec = make(
        home,
        """
        assert devices == (0, 1), devices
        assert plan["callable"]["params"] == {1: "one"}, plan
        assert shard.params == {"labels": {0: "cat"}}, shard.params
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"
        print("training")
        return {"loss": 0.5, "rounds": 2, "name": "no number", "nothing": float("nan")}
        """,
    )
    result = run(spec)
    assert result.ok, result.detail
    assert {name: str(value) for name, value in result.metrics.items()} == {
        "loss": "0.5",
        "rounds": "2.0",
        "nothing": "nan",
    }
    assert result.tail.splitlines() == ["training", "the result 'name' is not a number and is left out"]
    for name in ("child.log", "spec.json", "result.json"):
        assert stat.S_IMODE((spec.run_dir / name).stat().st_mode) == 0o600


def test_the_shard_is_made_at_home_and_the_experiment_runs_in_its_workspace(home: Path) -> None:
    """As the reference does: descriptors look for data beside the configuration, experiments beside themselves."""
    (home / "settings.py").write_text("WHERE = 'home'")
    spec = make(
        home,
        f"""
        assert shard.made_in == {str(home)!r}, shard.made_in
        assert os.getcwd().endswith("/run/workspace"), os.getcwd()
        assert sys.path[0] == {str(home)!r}, sys.path
        assert sys.path[-1] == os.getcwd(), sys.path
        assert not any("engines/child" in place for place in sys.path), sys.path
        import settings, own
        assert (settings.WHERE, own.WHERE) == ("home", "archive")
        """,
        settings="WHERE = 'archive'",
        own="WHERE = 'archive'",
    )
    result = run(spec)
    assert result.ok, result.detail


def test_the_archive_cannot_reach_the_shard_descriptor(home: Path) -> None:
    (home / "shard.py").write_text("import helper\n" + SHARD)
    result = run(make(home, "pass", helper="raise SystemExit('code of the archive ran too early')"))
    assert (result.code, result.error) == (
        "shard",
        "the shard descriptor could not be constructed: ModuleNotFoundError: No module named 'helper'",
    )


def test_B35_two_archives_with_the_same_module_see_their_own_code(home: Path) -> None:
    for number in (1, 2):
        result = run(make(home, f"return {{'constant': {number}}}", name=f"run{number}"))
        assert result.metrics == {"constant": number}, result.detail


def test_B75_a_child_is_a_clean_process_without_inherited_descriptors(home: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        result = run(
            make(
                home,
                """
                held = sorted(os.listdir("/proc/self/fd"), key=int)
                where = [os.readlink("/proc/self/fd/" + fd) for fd in held[:3]]
                assert held[:3] == ["0", "1", "2"] and len(held) == 4, held  # the fourth listed the directory
                assert where[0] == "/dev/null" and where[1] == where[2] and where[1].startswith("pipe:"), where
                assert "fedenvoy" not in sys.modules and "pytest" not in sys.modules
                assert os.getsid(0) != os.getpid() and os.getpgid(0) == os.getpid()
                assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
                assert threading.active_count() == 1
                """,
            )
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert result.ok, result.detail


def test_the_environment_is_the_agents_less_what_would_mislead() -> None:
    base = {"LANG": "C", "PYTHONHOME": "/x", "PYTHONSAFEPATH": "1", "NOTIFY_SOCKET": "/x", "CUDA_VISIBLE_DEVICES": "7"}
    assert child_environment(base) == {"LANG": "C", "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": "7"}
    assert child_environment(base, hide=True)["CUDA_VISIBLE_DEVICES"] == ""
    some = child_environment(base, ["1", "GPU-2"], hide=True)
    assert (some["CUDA_VISIBLE_DEVICES"], some["CUDA_DEVICE_ORDER"]) == ("1,GPU-2", "PCI_BUS_ID")
    assert visible_devices(["4", "2"]) == ("0", "1")
    assert visible_devices([4, 2]) == (0, 1)
    assert visible_devices([]) == ()


def test_the_scripts_of_a_child_are_readable_for_python_3_8() -> None:
    for script in Path(*child_scripts.__path__).glob("*.py"):
        tree = ast.parse(script.read_text(), feature_version=(3, 8))
        imported = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        beside = {
            name for name in imported if name.rpartition(".")[0] in {"fedenvoy.engines", "fedenvoy.engines.child"}
        }
        foreign = {name.partition(".")[0] for name in imported - beside} - set(sys.stdlib_module_names)
        assert foreign <= {"openfl.py": {"openfl"}, "aggregator.py": {"grpc"}}.get(script.name, set())


# How an end is told


@pytest.mark.parametrize(
    ("source", "error", "code"),
    [
        ("raise RuntimeError('deliberate\\n failure')", "RuntimeError: deliberate failure", "exception"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "exception"),
        ("raise BaseException('base')", "BaseException: base", "exception"),
        (
            "raise json.JSONDecodeError('no', '', 0)",
            "json.decoder.JSONDecodeError: no: line 1 column 1 (char 0)",
            "exception",
        ),
        ("sys.exit(3)", "exited with 3", "exit 3"),
        ("sys.exit('bad data')", "exited with 1: bad data", "exit 1"),
        ("sys.exit()", "exited with 0 before it was finished", "exit 0"),
        ("os._exit(7)", "exited with 7", "exit 7"),
        ("os._exit(0)", "exited with 0 before it was finished", "exit 0"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'", "exception"),
        ("def f(): return f()\nf()", "RecursionError: maximum recursion depth exceeded", "exception"),
    ],
)
def test_B54_whatever_user_code_raises_is_a_failed_experiment(home: Path, source: str, error: str, code: str) -> None:
    result = run(make(home, source))
    assert (result.ok, result.error, result.code) == (False, error, code)


def test_B43_a_failure_carries_its_last_line_and_its_traceback(home: Path) -> None:
    result = run(make(home, "print('before')\nraise ValueError('gr\\u00fcn \\udc80')"))
    assert result.error == "ValueError: gr\u00fcn \udc80"
    assert result.detail.startswith("Traceback (most recent call last):\n")
    assert "tasks.py" in result.detail
    assert "bootstrap.py" not in result.detail
    assert result.tail.splitlines()[0] == "before"


def test_B43_a_shard_descriptor_that_raises_is_told_as_such(home: Path) -> None:
    (home / "shard.py").write_text(
        "class Shard:\n    def __init__(self, **params):\n        raise OSError('no data')\n"
    )
    result = run(make(home, "pass"))
    assert (result.error, result.code) == ("the shard descriptor could not be constructed: OSError: no data", "shard")


def test_B50_a_shard_descriptor_that_takes_the_process_with_it_is_told_as_such(home: Path) -> None:
    (home / "shard.py").write_text("class Shard:\n    def __init__(self, **params):\n        import os; os.abort()\n")
    result = run(make(home, "pass"))
    words = "the shard descriptor could not be constructed: killed by signal 6 (SIGABRT)"
    assert (result.error, result.code) == (words, "shard")


@pytest.mark.parametrize(
    ("said", "code"), [("aggregator", "aggregator"), ("environment", "environment"), ("x", "exception")]
)
def test_an_engine_may_say_that_the_experiment_is_not_to_blame(home: Path, said: str, code: str) -> None:
    body = f"class Gone(OSError):\n    fedenvoy_code = {said!r}\nraise Gone('nobody\\nthere')"
    result = run(make(home, body))
    assert result.code == code
    assert result.error == ("nobody there" if code == said else "src.tasks.train.<locals>.Gone: nobody there")


def test_B50_a_kill_from_outside_is_told_with_its_likely_cause(home: Path) -> None:
    result = run(make(home, "print('last words', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"))
    assert (result.ok, result.code) == (False, "signal 9")
    assert re.fullmatch(r"killed by signal 9 \(out of memory\? peak [0-9.]+ MiB of [0-9.]+ [GT]iB\)", result.error)
    assert result.detail == "last words"


def test_B50_a_crash_is_told_with_its_signal(home: Path) -> None:
    result = run(make(home, "os.abort()"))
    assert (result.error, result.code) == ("killed by signal 6 (SIGABRT)", "signal 6")


def test_a_result_that_user_code_forged_or_broke_is_not_believed(home: Path) -> None:
    forge = "import pathlib\npathlib.Path('../result.json').write_text({!r})\nos._exit({})"
    assert run(make(home, forge.format('{"ok": true}', 4), name="a")).code == "exit 4"
    assert run(make(home, forge.format("[" * 100_000, 0), name="b")).error == "exited with 0 before it was finished"
    assert run(make(home, forge.format('{"ok": true, "metrics": {"a": "b", "c": 1}}', 0), name="c")).metrics == {"c": 1}


def test_an_openfl_experiment_on_a_node_without_openfl_is_not_to_blame(home: Path) -> None:
    python, environment = Path(sys.executable), child_environment(os.environ)
    result = run_child(
        make(home, "pass"), OpenflEngine().program(), python, env=environment, grace=DEADLINE, cancel=Cancel()
    )
    assert result.code == "environment"
    assert result.error.startswith(f"the experiment needs OpenFL 1.6, which {python} does not have; install it there")


def test_threads_left_behind_do_not_hold_the_end(home: Path) -> None:
    body = "threading.Thread(target=time.sleep, args=(3600,)).start()\nreturn {'done': 1}"
    assert run(make(home, body)).metrics == {"done": 1}


def test_a_fork_that_returns_into_the_childs_own_code_writes_no_result(home: Path) -> None:
    body = """
        fork = os.fork()
        if fork == 0:
            return {"from": "the fork"}
        os.waitpid(fork, 0)
        os._exit(0)
    """
    assert run(make(home, body)).error == "exited with 0 before it was finished"


def test_an_interpreter_that_is_not_there_is_one_sentence(home: Path) -> None:
    spec = make(home, "pass")
    result = run_child(spec, Path("x"), home / "no/python", env={}, grace=1, cancel=Cancel())
    assert result.code == "start"
    assert result.error == f"the process could not be started: {home}/no/python: No such file or directory"


def test_an_interpreter_that_is_none_is_told_with_what_it_printed(home: Path) -> None:
    script = home / "python"
    script.write_text("#!/bin/sh\necho broken installation\nexit 5\n")
    script.chmod(0o700)
    result = run_child(make(home, "pass"), Path("x"), script, env=dict(os.environ), grace=1, cancel=Cancel())
    assert (result.code, result.detail) == ("start", "broken installation")
    assert result.error == f"the interpreter {script} ended before the experiment could begin: exited with 5"


# Ending it

WAIT_FOR_EVER = """
    pipe = open(os.environ["PIPE"], "w")
    print(os.getpid(), file=pipe, flush=True)
    while True:
        time.sleep(3600)
"""
DAEMON = """
    pipe = open(os.environ["PIPE"], "w")
    ready, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(told, b"x")
            {clear}
            while True:
                time.sleep(3600)
        os._exit(0)
    os.read(ready, 1)
    print("daemon runs", file=pipe, flush=True)
"""
# A daemon that took care not to be found by its environment either.
CLEARED = 'os.execve("/bin/sleep", ["sleep", "3600"], {})'


def test_a_cancelled_child_is_asked_and_then_gone(home: Path, pipe: Pipe) -> None:
    cancel = Cancel()
    with running(make(home, WAIT_FOR_EVER), cancel, PIPE=str(pipe.path)) as outcome:
        pipe.line()
        cancel.cancel()
        pipe.wait_end()
    assert isinstance(outcome[0], Cancelled)


def test_a_child_may_use_its_grace_to_save_its_work(home: Path, pipe: Pipe) -> None:
    save = """
    def save(*_):
        os.write(pipe.fileno(), b"saved\\n")  # a print that it interrupts may not be over
        sys.exit()
    signal.signal(signal.SIGTERM, save)
    """
    cancel = Cancel()
    body = textwrap.dedent(WAIT_FOR_EVER).replace("print(os", textwrap.dedent(save) + "print(os")
    with running(make(home, body), cancel, PIPE=str(pipe.path)) as outcome:
        pipe.line()
        cancel.cancel()
        assert pipe.line() == "saved"
        pipe.wait_end()
    assert isinstance(outcome[0], Cancelled)


def test_a_child_that_does_not_listen_is_killed_after_its_grace(home: Path, pipe: Pipe) -> None:
    cancel = Cancel()
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + textwrap.dedent(WAIT_FOR_EVER)
    with running(make(home, deaf), cancel, grace=0.1, PIPE=str(pipe.path)) as outcome:
        pipe.line()
        cancel.cancel()
        pipe.wait_end()
    assert isinstance(outcome[0], Cancelled)


def test_a_run_that_is_cancelled_before_it_starts_starts_nothing(home: Path) -> None:
    cancel = Cancel()
    cancel.cancel()
    spec = make(home, "pass")
    with pytest.raises(Cancelled):
        run(spec, cancel)
    assert not (spec.run_dir / "spec.json").exists()


@pytest.mark.parametrize("clear", ["pass", CLEARED], ids=["marked", "cleared"])
def test_B83_a_grandchild_is_gone_when_the_run_has_ended(home: Path, pipe: Pipe, clear: str) -> None:
    result = run(make(home, DAEMON.format(clear=clear) + "    return {'done': 1}\n"), PIPE=str(pipe.path))
    assert result.metrics == {"done": 1}, result.detail
    assert pipe.line() == "daemon runs"
    pipe.wait_end()


@pytest.mark.parametrize("clear", ["pass", CLEARED], ids=["marked", "cleared"])
def test_B83_a_grandchild_is_gone_when_the_run_was_cancelled(home: Path, pipe: Pipe, clear: str) -> None:
    cancel = Cancel()
    body = DAEMON.format(clear=clear) + "    time.sleep(3600)\n"
    with running(make(home, body), cancel, PIPE=str(pipe.path)) as outcome:
        assert pipe.line() == "daemon runs"
        cancel.cancel()
        pipe.wait_end()
    assert isinstance(outcome[0], Cancelled)


def test_B83_a_grandchild_is_gone_when_the_guard_was_killed(home: Path, pipe: Pipe) -> None:
    body = DAEMON.format(clear="pass") + "    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(3600)\n"
    result = run(make(home, body), PIPE=str(pipe.path))
    assert result.code == "signal 9"
    assert pipe.line() == "daemon runs"
    pipe.wait_end()


AGENT = """
import os, sys
from pathlib import Path
from fedenvoy.cancel import Cancel
from fedenvoy.engines.process import run_child
from fedenvoy.ports import RunSpec
run_dir, home, program = map(Path, sys.argv[1:])
spec = RunSpec(run_dir=run_dir, workspace=run_dir / "workspace", home=home, shard_name="site",
               shard={"template": "shard.Shard"}, plan_path=run_dir / "workspace/plan/plan.yaml")
run_child(spec, program, Path(sys.executable), env=dict(os.environ), grace=10, cancel=Cancel())
"""


@contextlib.contextmanager
def other_agent(spec: RunSpec, pipe: Pipe) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PIPE": str(pipe.path)}
    environment["PYTHONPATH"] = os.pathsep.join(place for place in sys.path if place)
    arguments = [str(spec.run_dir), str(spec.home), str(CallableEngine().program())]
    with subprocess.Popen([sys.executable, "-c", AGENT, *arguments], env=environment) as agent:
        try:
            yield agent
        finally:
            agent.kill()


@pytest.mark.parametrize("clear", ["pass", CLEARED], ids=["marked", "cleared"])
def test_B83_nothing_survives_when_the_agent_is_killed(home: Path, pipe: Pipe, clear: str) -> None:
    spec = make(home, DAEMON.format(clear=clear) + "    time.sleep(3600)\n")
    with other_agent(spec, pipe) as agent:
        assert pipe.line() == "daemon runs"
        agent.send_signal(signal.SIGKILL)
        pipe.wait_end()


def test_B83_a_child_dies_with_its_guard_although_its_agent_cannot_act(home: Path, pipe: Pipe) -> None:
    with other_agent(make(home, WAIT_FOR_EVER), pipe) as agent:
        pipe.line()
        agent.send_signal(signal.SIGSTOP)
        os.kill(guard_of(agent), signal.SIGKILL)
        pipe.wait_end()


def guard_of(agent: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text())


def test_B83_what_survived_guard_and_agent_is_ended_by_the_next_start(home: Path, pipe: Pipe) -> None:
    state = home.parent / "state"
    state.mkdir()
    body = DAEMON.format(clear="pass") + "    time.sleep(3600)\n"
    spec = make(home, body, name="state/runs/1-1")
    with other_agent(spec, pipe) as agent:
        assert pipe.line() == "daemon runs"
        agent.send_signal(signal.SIGSTOP)  # so that it cannot clean up
        token = json.loads((spec.run_dir / "spec.json").read_text())["token"]
        os.kill(guard_of(agent), signal.SIGKILL)
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        assert list(members(token)), "the daemon must have survived for this test to mean anything"
        assert clean_leftovers(state) == ("1-1",)
        assert list(members(token)) == []
        pipe.wait_end()
