"""The whole agent against a real gRPC director: the paths through the chart, good and bad."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fedenvoy.config import ReviewSettings
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.archives import GOOD, archive
from support.shards import NumbersShard

S, E = State, Event


def test_a_good_experiment_walks_the_whole_path(tmp_path: Path) -> None:
    with SandboxDirector(sample_shape=["8"], target_shape=["1"]) as director:
        director.offer("exp", archive(), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            node.wait_event(E.REPORT_DELIVERED)
            assert node.path == [
                S.DISCONNECTED,
                S.REGISTERED,
                S.IDLE,
                S.REVIEWING_PLAN,
                S.TRAINING,
                S.REPORTING,
                S.IDLE,
            ]
            (finished,) = [r for r in node.records if r.event is E.TRAINING_FINISHED]
            assert finished.cause == "sum=52"
            (shard,) = director.calls_of("UpdateShardInfo")
            assert shard.request.shard_info.shard_description == "numbers of node 3, größer als nichts"
            checks = director.wait_for_calls("UpdateEnvoyStatus", 2)
            assert not checks[-1].request.is_experiment_running
        assert not director.reports
    assert not list(tmp_path.glob("*/runs/*")), "nothing of the run is left on disk"


def test_requirements_lead_through_the_installing_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheelhouse = tmp_path / "wheels"
    wheelhouse.mkdir()
    code = "import tiny_package\ndef run(shard, devices, plan):\n    return {'value': tiny_package.VALUE}\n"
    make_wheel(wheelhouse, "tiny_package", "1.0", "VALUE = 41")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheelhouse))
    wanted = "--no-index\ntiny-package==1.0\n"
    with SandboxDirector() as director:
        director.offer("exp", archive(code, requirements=wanted), to=["node-1"])
        with running(config(director.address, tmp_path / "state")) as node:
            node.wait_event(E.REPORT_DELIVERED, 60)
            assert S.INSTALLING_REQUIREMENTS in node.path
            assert "value=41" in {r.cause for r in node.records}


def make_wheel(directory: Path, name: str, version: str, code: str) -> None:
    """Write a wheel by hand: one module, no build."""
    import zipfile

    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", code + "\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_B29_failed_requirements_report_from_installing_and_never_train(tmp_path: Path) -> None:
    wanted = "--no-index\nno-such-pkg-xyz==0.1.dev0\n"
    with SandboxDirector() as director:
        director.offer("exp", archive(requirements=wanted), to=["node-1"])
        with running(config(director.address, tmp_path / "state")) as node:
            node.wait_event(E.REPORT_DELIVERED, 60)
            assert S.TRAINING not in node.path
            assert node.path[-3:] == [S.INSTALLING_REQUIREMENTS, S.REPORTING, S.IDLE]
        (report,) = director.reports
        assert "no-such-pkg-xyz" in report.error_description


@pytest.mark.parametrize("requirements", [None, "", "# nothing\n\n", "\ufeff# nothing\r\n"])
def test_B30_no_requirements_mean_nothing_to_install(tmp_path: Path, requirements: str | None) -> None:
    with SandboxDirector() as director:
        director.offer("exp", archive(requirements=requirements), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            node.wait_event(E.TRAINING_FINISHED)
            assert S.INSTALLING_REQUIREMENTS not in node.path


def test_B35_the_second_experiment_runs_its_own_code(tmp_path: Path) -> None:
    code = "from src.tasks import VALUE\ndef run(shard, devices, plan):\n    return {'value': VALUE}\n"
    with SandboxDirector() as director, running(config(director.address, tmp_path)) as node:
        for value in (1, 2):
            files = {"src/__init__.py": "", "src/tasks.py": f"VALUE = {value}\n"}
            director.offer(f"exp{value}", archive(code, **files), to=["node-1"])
            node.wait_event(E.TRAINING_FINISHED, times=value)
        assert [r.cause for r in node.records if r.event is E.TRAINING_FINISHED] == ["value=1", "value=2"]


def test_B36_the_agent_s_own_process_is_untouched_by_an_experiment(tmp_path: Path) -> None:
    import sys

    code = (
        "import os, shutil\ndef run(shard, devices, plan):\n"
        "    here = os.getcwd()\n    os.chdir('/')\n    shutil.rmtree(here)\n"
    )
    before = (Path.cwd(), list(sys.path), dict(os.environ))
    with SandboxDirector() as director:
        director.offer("exp", archive(code), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            node.wait_event(E.REPORT_DELIVERED)
    assert (Path.cwd(), list(sys.path), dict(os.environ)) == before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError('bad data')", "ValueError at experiment_code.py:2 (its text stays at the site)"),
        ("import sys; sys.exit(3)", "3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os._exit(7)", "exited with 7"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
    ],
)
def test_B43_B50_B54_every_bad_end_is_reported_once_and_the_agent_goes_on(
    tmp_path: Path, body: str, words: str
) -> None:
    with SandboxDirector() as director:
        director.offer("bad", archive(f"def run(shard, devices, plan):\n    {body}\n"), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            node.wait_event(E.REPORT_DELIVERED)
            (report,) = director.reports
            assert (report.experiment_name, report.collaborator_name) == ("bad", "node-1")
            assert report.error_code != 0
            assert words in report.error_description
            director.offer("good", archive(GOOD), to=["node-1"])
            node.wait_event(E.TRAINING_FINISHED)
            assert len(director.reports) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"this is no zip archive", "zip"),
        (archive()[:-30], ""),
        (archive(plan="- a list"), "plan"),
        (archive(plan="engine: unheard-of"), "unheard-of"),
        (archive(plan="{}"), "engine"),
    ],
)
def test_B43_unusable_archives_are_reported_in_words(tmp_path: Path, data: bytes, words: str) -> None:
    with SandboxDirector() as director:
        director.offer("bad", data, to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            node.wait_event(E.REPORT_DELIVERED)
            assert S.TRAINING not in node.path
        (report,) = director.reports
        assert words in report.error_description
        assert "Traceback" not in report.error_description


def test_B41_review_comes_before_install_and_a_rejection_is_told_once(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def refuse(name: str, path: str) -> bool:
        asked.append((name, Path(path).read_text(encoding="utf-8").splitlines()[0]))
        return False

    with SandboxDirector() as director:
        director.offer("exp", archive(requirements="no-such-package-xyz==9\n"), to=["node-1"])
        with running(config(director.address, tmp_path), review=refuse) as node:
            node.wait_event(E.REPORT_DELIVERED)
            assert asked == [("plan", "engine: callable")]
            assert node.path[-3:] == [S.REVIEWING_PLAN, S.REPORTING, S.IDLE]
        (report,) = director.reports
        assert "rejected" in report.error_description


@pytest.mark.parametrize("answer", [1, "yes", None])
def test_B41_answers_that_are_not_yes_or_no_are_errors_that_name_the_type(tmp_path: Path, answer: object) -> None:
    with SandboxDirector() as director:
        director.offer("exp", archive(), to=["node-1"])
        with running(config(director.address, tmp_path), review=lambda _n, _p: answer) as node:
            node.wait_event(E.EXPERIMENT_UNUSABLE)
            node.wait_event(E.REPORT_DELIVERED)
        assert type(answer).__name__ in director.reports[0].error_description


def test_B41_health_checks_go_on_while_people_think_and_silence_is_a_rejection(tmp_path: Path) -> None:
    import threading

    thinking = threading.Event()
    with SandboxDirector(period=1.0) as director:
        director.offer("exp", archive(), to=["node-1"])
        settings = config(director.address, tmp_path, agent__review=ReviewSettings(timeout=2.5))
        with running(settings, review=lambda _n, _p: thinking.wait(30)) as node:
            node.wait_state(S.REVIEWING_PLAN)
            node.wait_event(E.HEALTH_CHECKED, times=3)
            node.wait_event(E.PLAN_REJECTED)
            thinking.set()


def test_B7_a_failed_experiment_that_is_offered_again_runs_once_and_politely(tmp_path: Path) -> None:
    with SandboxDirector(reoffers=True) as director:
        director.offer("exp", archive("def run(*_):\n    raise ValueError('no')\n"), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            node.wait(lambda rs: any(r.event is E.EXPERIMENT_OFFERED and r.target is S.IDLE for r in rs))
            assert node.count(E.TRAINING_FAILED) == 1
        assert len(director.calls_of("GetExperimentData")) == 1
        assert len(director.reports) == 1
        assert len(director.calls_of("WaitExperiment")) <= 4


def test_descriptor_instances_are_sent_to_the_child_by_value(tmp_path: Path) -> None:
    with SandboxDirector() as director:
        director.offer("exp", archive(), to=["node-1"])
        with running(config(director.address, tmp_path, shard=NumbersShard(rank=5))) as node:
            node.wait_event(E.TRAINING_FINISHED)
            assert "sum=68" in {r.cause for r in node.records}


def test_a_shard_that_cannot_be_constructed_ends_with_its_own_code_and_sentence(tmp_path: Path) -> None:
    from fedenvoy.config import ShardSource
    from fedenvoy.errors import Exit

    with SandboxDirector() as director:
        settings = config(director.address, tmp_path, shard=ShardSource("support.shards.BrokenShard"))
        with running(settings) as node:
            assert node.join() is Exit.SHARD
        assert not director.calls
        assert "/data/scans" in node.records[-1].cause
