"""The parts of the demo that need no federation: children, deadline, views, and the environment's interpreter."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fedenvoy import demo
from fedenvoy.demo import environment
from fedenvoy.demo.child import Child, Line, Lines
from fedenvoy.demo.deadline import Deadline, DemoError
from fedenvoy.demo.federation import Outcome, quiet_port, read_outcome
from fedenvoy.demo.nodes import NodeView, Site, view_after
from fedenvoy.demo.stage import Stage
from fedenvoy.demo.view import LiveView, PlainView, open_view, print_result
from fedenvoy.errors import ConfigurationError
from rich.console import Console

TIME = re.compile(r"\d+\.\d s")


def python(source: str) -> list[str]:
    return [sys.executable, "-c", source]


def told(source: str | None, event: str, target: str, **more: object) -> str:
    """Write a line as an agent does."""
    return json.dumps({"level": "INFO", "event": event, "from": source, "to": target, **more})


def walk(view: NodeView, *lines: str) -> NodeView:
    for line in lines:
        view = view_after(view, line)
    return view


# Children


def test_a_child_gives_its_lines_to_file_and_queue(tmp_path: Path) -> None:
    lines = Lines()
    log = tmp_path / "log"
    with Child("speaker", python("print('one\\ntwo')"), cwd=tmp_path, log=log, lines=lines) as child:
        assert child.wait(30) == 0
    assert [lines.get_nowait(), lines.get_nowait()] == [Line("speaker", "one"), Line("speaker", "two")]
    assert log.read_text("utf-8") == "one\ntwo\n"
    assert child.tail() == "one / two"


def test_a_child_is_asked_to_end_when_the_block_ends(tmp_path: Path) -> None:
    source = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('up'); time.sleep(60)"
    )
    lines = Lines()
    with Child("patient", python(source), cwd=tmp_path, log=tmp_path / "log", lines=lines) as child:
        lines.get(timeout=30)
    assert child.exit_code == 7


def test_a_child_that_does_not_listen_is_ended(tmp_path: Path) -> None:
    source = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    lines = Lines()
    with Child("deaf", python(source), cwd=tmp_path, log=tmp_path / "log", lines=lines, grace=0.2) as child:
        lines.get(timeout=30)
    assert child.exit_code == -signal.SIGKILL


def test_a_child_ends_when_the_block_fails(tmp_path: Path) -> None:
    child = Child("sleeper", python("import time; time.sleep(60)"), cwd=tmp_path, log=tmp_path / "log")
    with pytest.raises(KeyboardInterrupt), child:
        raise KeyboardInterrupt
    assert child.exit_code == -signal.SIGTERM


# Deadline


def test_the_deadline_names_what_it_waited_for() -> None:
    now = [0.0]
    deadline = Deadline(5, clock=lambda: now[0])
    assert deadline.check("tea") == 5
    now[0] = 6
    assert deadline.left == 0
    with pytest.raises(DemoError, match=r"5 s were not enough: still waiting for tea"):
        deadline.check("tea")


# What the nodes' lines say


def test_the_view_follows_the_lines() -> None:
    view = walk(
        NodeView("a"),
        "not JSON at all",
        '"JSON, but no line of a transition"',
        json.dumps({"level": "INFO", "message": "hello"}),
        told(None, "started", "Disconnected"),
        told("Disconnected", "registration_failed", "Disconnected"),
        told("Disconnected", "registration_accepted", "Registered"),
        told("Registered", "health_checked", "Idle"),
        told("Idle", "experiment_offered", "ReviewingPlan", experiment="digits"),
    )
    assert view.path == ("Disconnected", "Registered", "Idle", "ReviewingPlan")
    assert (view.state, view.event, view.experiment, view.done) == (
        "ReviewingPlan",
        "experiment_offered",
        "digits",
        False,
    )


def test_the_view_reads_the_numbers_of_a_training() -> None:
    view = walk(
        NodeView("a"),
        told("Training", "training_finished", "Reporting", cause="accuracy=0.951, loss=1.5e-05, held_out=224"),
        told("Reporting", "report_delivered", "Idle"),
    )
    assert view.metrics == {"accuracy": 0.951, "loss": 1.5e-05, "held_out": 224}
    assert view.done
    assert view.trouble == ""


@pytest.mark.parametrize("event", ["experiment_unusable", "requirements_failed", "training_failed", "plan_rejected"])
def test_the_view_keeps_what_went_wrong(event: str) -> None:
    view = walk(NodeView("a"), told("Training", event, "Reporting", cause="exit 3: it broke"))
    assert view.trouble == f"{event}: exit 3: it broke"


# The loop that follows the nodes


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, Deadline(30), Console(file=io.StringIO()))


def speak(stage: Stage, name: str, *lines: str, then: str = "import time; time.sleep(60)") -> Child:
    source = "".join(f"print({line!r}, flush=True)\n" for line in lines) + then
    return Child(name, python(source), cwd=stage.place, log=stage.place / name, lines=stage.lines)


def test_follow_ends_when_the_nodes_are_there(stage: Stage) -> None:
    others: list[str] = []
    lines = told("Training", "training_finished", "Reporting", cause="accuracy=1"), told("Reporting", "x", "Idle")
    with speak(stage, "a", *lines) as node, speak(stage, "b", "hello"):
        stage.follow(
            [node],
            lambda nodes: nodes["a"].done and bool(others),
            waiting_for="an end",
            other=lambda line: others.append(line.text),
        )
    assert others == ["hello"]
    assert stage.nodes["a"].metrics == {"accuracy": 1}


def test_follow_tells_of_a_node_that_ended(stage: Stage) -> None:
    with (
        speak(stage, "a", "no such host", then="raise SystemExit(3)") as node,
        pytest.raises(DemoError, match=r"^a ended with code 3: no such host$"),
    ):
        stage.follow([node], lambda _: False, waiting_for="an end")


def test_follow_tells_of_an_experiment_that_failed(stage: Stage) -> None:
    line = told("Training", "training_failed", "Reporting", cause="exit 3")
    with speak(stage, "a", line) as node, pytest.raises(DemoError, match=r"^a: training_failed: exit 3$"):
        stage.follow([node], lambda _: False, waiting_for="an end")


def test_follow_says_where_everyone_was_when_time_ran_out(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Deadline(0.3), Console(file=io.StringIO()))
    with speak(stage, "a") as node, pytest.raises(DemoError, match=r"waiting for an end; a is starting"):
        stage.follow([node], lambda _: False, waiting_for="an end")


def test_stop_tells_of_a_node_that_ended_otherwise_than_asked(stage: Stage) -> None:
    with speak(stage, "a") as node:
        stage.follow([node], lambda _: True, waiting_for="nothing")
        with pytest.raises(DemoError, match=r"a was asked to end and ended with code -15"):
            stage.stop([node])


# What is shown


def test_without_a_terminal_there_are_plain_lines() -> None:
    out = io.StringIO()
    view = open_view(Console(file=out, width=40))
    assert isinstance(view, PlainView)
    long = "a step [that] looks like markup and is longer than the line of the console is wide"
    with view:
        view.say(long)
        node = walk(NodeView("a"), told(None, "started", "Disconnected"), told("Disconnected", "x", "Registered"))
        view.show({"a": node})
        view.show({"a": node})
    lines = [TIME.sub("T", line).strip() for line in out.getvalue().splitlines()]
    assert lines == [f"T  {long}", "T  a: Disconnected", "T  a: Registered  (x)"]


def test_on_a_terminal_there_is_a_table() -> None:
    out = io.StringIO()
    view = open_view(Console(file=out, width=100, force_terminal=True))
    assert isinstance(view, LiveView)
    with view:
        view.say("a step")
        view.show(
            {"a": NodeView("a"), "b": walk(NodeView("b"), told("x", "training", "Training", experiment="digits"))}
        )
        deadline = time.monotonic() + 10
        while "Training" not in out.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert "a step" in out.getvalue()
    assert "starting" in out.getvalue()


def test_the_result_is_a_path_and_a_table() -> None:
    out = io.StringIO()
    node = NodeView("a", path=("Idle", "Training", "Reporting", "Idle"))
    print_result(Console(file=out, width=30), [node], {"accuracy": {"a": "0.95"}}, title="what came out")
    assert "Idle -> Training -> Reporting -> Idle" in out.getvalue()
    assert "0.95" in out.getvalue()


# The OpenFL side


def test_the_port_is_free_and_not_ephemeral() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    assert 1024 < quiet_port() < low


@pytest.mark.parametrize(
    ("found", "version", "expected"),
    [
        ({"3.11": "/opt/3.11", "3.10": "/opt/3.10"}, (3, 13), "/opt/3.11"),
        ({"3.10": "/opt/3.10"}, (3, 13), "/opt/3.10"),
        ({}, (3, 12), sys.executable),
    ],
)
def test_openfl_gets_the_python_it_runs_on(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str], version: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(environment, "uv", only(found))
    monkeypatch.setattr(sys, "version_info", version)
    assert environment.find_python(Deadline(5)) == expected


def test_without_a_python_for_openfl_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "uv", only({}))
    monkeypatch.setattr(sys, "version_info", (3, 13))
    with pytest.raises(DemoError, match=r"needs Python 3.10 to 3.12, and this machine has only 3.13: install one"):
        environment.find_python(Deadline(5))


def only(found: dict[str, str]) -> Callable[..., str]:
    """Stand in for a machine that has these interpreters and no other."""

    def uv(*arguments: str, **_: object) -> str:
        if arguments[-1] not in found:
            raise DemoError("no interpreter found")
        return found[arguments[-1]]

    return uv


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A requirement that needs no index."""
    wheel = tmp_path / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        archive.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.dist-info/RECORD", "")
    return str(wheel)


def make(directory: Path, requirement: str) -> Path:
    return environment.openfl_environment(directory, Deadline(50), python=sys.executable, requirements=[requirement])


def test_an_environment_is_made_once(tmp_path: Path, tiny: str) -> None:
    interpreter = make(tmp_path / "e", tiny)
    program = [str(interpreter), "-c", "import tiny; print(tiny.__file__)"]
    where = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert where.startswith(str(tmp_path))
    made = (tmp_path / "e" / "pyvenv.cfg").stat().st_mtime_ns
    make(tmp_path / "e", tiny)
    assert (tmp_path / "e" / "pyvenv.cfg").stat().st_mtime_ns == made


def test_an_environment_that_was_cut_off_is_made_anew(tmp_path: Path, tiny: str) -> None:
    (tmp_path / "e" / "bin").mkdir(parents=True)
    (tmp_path / "e" / "bin" / "python").touch()
    subprocess.run([str(make(tmp_path / "e", tiny)), "-c", "import tiny"], check=True)


def test_an_installation_that_fails_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"^uv could not install OpenFL: .*not a requirement") as caught:
        make(tmp_path / "e", "not a requirement")
    assert "\n" not in str(caught.value)


def test_the_outcome_of_a_submission_that_broke_is_its_last_lines(tmp_path: Path) -> None:
    with Child("scientist", python("raise SystemExit('no director')"), cwd=tmp_path, log=tmp_path / "log") as child:
        child.wait(30)
    with pytest.raises(DemoError, match=r"ended with code 1: no director"):
        read_outcome(child)


def test_the_outcome_is_read_from_the_last_line(tmp_path: Path) -> None:
    line = json.dumps({"event": "outcome", "status": "finished", "weights": {"w": [1.5]}, "metrics": []})
    with Child("scientist", python(f"print({line!r})"), cwd=tmp_path, log=tmp_path / "log") as child:
        child.wait(30)
    assert read_outcome(child) == Outcome("finished", {"w": [1.5]}, [])


# The command


def test_keep_must_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"--keep .*file: the directory cannot be made"):
        demo.run("sandbox", tmp_path / "file", 5)


def test_an_unknown_director_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no director 'x'; there are sandbox, openfl"):
        demo.run("x", None, 5)


def test_a_failure_is_one_sentence_and_keeps_the_logs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(stage: Stage) -> None:
        (stage.place / "log").write_text("what happened", "utf-8")
        raise DemoError("the director does not listen")

    monkeypatch.setattr(demo, "_play", lambda *_: play)
    assert demo.run("sandbox", tmp_path, 5) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "The demo failed: the director does not listen"
    assert (Path(second.removeprefix("All logs are in ")) / "log").read_text("utf-8") == "what happened"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_demo(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    places: list[Path] = []

    def play(stage: Stage) -> None:
        places.append(stage.place)
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr(demo, "_play", lambda *_: play)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught:
        demo.run("sandbox", None, 5)
    assert caught.value.code == 128 + number
    assert not places[0].exists()
    assert signal.getsignal(number) is before


def test_a_site_writes_openfls_configuration(tmp_path: Path) -> None:
    site = Site("a", tmp_path, "module.Shard", {"part": 1}, agent={"python": "/opt/python"})
    text = site.write().read_text("utf-8")
    assert "template: module.Shard" in text
    assert "install_requirements: false" in text
    assert "python: /opt/python" in text
