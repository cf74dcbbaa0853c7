"""`python -m fedenvoy_statecharts`: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fedenvoy_statecharts import LIFECYCLE
from fedenvoy_statecharts.checks import mutations
from fedenvoy_statecharts.cli import main
from fedenvoy_statecharts.render import FORMATS, SUFFIXES, render

BROKEN = """
from dataclasses import replace
from fedenvoy_statecharts import LIFECYCLE, Effect, Event, State

row = next(r for r in LIFECYCLE.at(State.TRAINING, Event.STOP_REQUESTED) if Effect.DRAIN in r.effects)
other = replace(row, effects=(Effect.NOTE_STOP,))
CHART = replace(LIFECYCLE, rows=tuple(other if r is row else r for r in LIFECYCLE.rows))
OTHER = replace(LIFECYCLE, name="another")
NUMBER = 7
"""
CONTRADICTION = """
from dataclasses import replace
from fedenvoy_statecharts import LIFECYCLE

CHART = replace(LIFECYCLE, rows=LIFECYCLE.rows[1:])
"""


@pytest.fixture
def charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two chart modules, which is the current one."""
    (tmp_path / "broken_chart.py").write_text(BROKEN, encoding="utf-8")
    (tmp_path / "contradiction.py").write_text(CONTRADICTION, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("broken_chart", "contradiction"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def one_line(text: str) -> str:
    """Give the only line."""
    (line,) = text.splitlines()
    return line


def test_check_tells_each_property_and_how_much_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [[str(number), "ok"] for number in range(1, 13)]
    assert "configurations" in lines[-1]


def test_check_shows_the_counterexample(charts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--chart", "broken_chart:CHART"]) == 1
    out = capsys.readouterr().out
    assert " 8  BROKEN" in out
    assert "Training --stop_requested [not stopping]--> -" in out
    assert out.count("BROKEN") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["dance"], "'dance'"),
        (["render", "--format", "png"], "unknown format 'png': choose one of mermaid"),
        (["render", "--out", "nowhere/x.mmd"], "cannot write nowhere/x.mmd: No such file or directory"),
        (["render", "--out", "."], "cannot write ."),
        (["render", "--check"], "--check needs --out"),
        (["render", "--format", "all"], "--format all needs --out: a directory"),
        (["render", "--format", "svg", "--chart", "broken_chart:OTHER"], "there is no picture of this very chart"),
        (["check", "--chart", "broken_chart"], "takes MODULE:NAME"),
        (["check", "--chart", "no_such_module:CHART"], "ModuleNotFoundError"),
        (["check", "--chart", "broken_chart:MISSING"], "AttributeError"),
        (["check", "--chart", "broken_chart:NUMBER"], "is no chart but int"),
        (["check", "--chart", "contradiction:CHART"], "Disconnected on shard_described is not mentioned"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    charts: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    before = sorted(charts.iterdir())
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert words in one_line(err)
    assert sorted(charts.iterdir()) == before, "nothing half-written"


@pytest.mark.parametrize("format_", FORMATS)
def test_render_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str) -> None:
    file = tmp_path / "picture"
    assert main(["render", "--format", format_, "--out", str(file)]) == 0
    assert main(["render", "--format", format_]) == 0
    assert file.read_text(encoding="utf-8") == capsys.readouterr().out == render(LIFECYCLE, format_)
    assert list(tmp_path.iterdir()) == [file]


def test_render_notices_a_stale_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lifecycle.mmd"
    ask = ["render", "--out", str(file)]
    assert main([*ask, "--check"]) == 1
    assert "lifecycle.mmd is not what the table says" in one_line(capsys.readouterr().err)
    assert not file.exists()
    assert main(ask) == 0
    assert main([*ask, "--check"]) == 0
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert main([*ask, "--check"]) == 1


def test_render_all_writes_and_compares_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["render", "--format", "all", "--out", str(tmp_path)]
    assert main(ask) == 0
    assert {file.name for file in tmp_path.iterdir()} == {f"lifecycle{suffix}" for suffix in SUFFIXES.values()}
    assert main([*ask, "--check"]) == 0
    (tmp_path / "lifecycle.dot").unlink()
    assert main([*ask, "--check"]) == 1
    assert "lifecycle.dot" in one_line(capsys.readouterr().err)


def test_a_reader_who_leaves_early_is_no_fault() -> None:
    """`... render --format json | head -1` must not end in a traceback."""
    command = [sys.executable, "-m", "fedenvoy_statecharts", "render", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_mutate_prints_the_score_and_each_survivor_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [m for m in mutations.mutations(LIFECYCLE) if m.what.startswith("shard_described: scope link")]
    few += [m for m in mutations.mutations(LIFECYCLE) if m.kind == "drop"][:2]
    monkeypatch.setattr("fedenvoy_statecharts.cli.mutations", lambda _chart: iter(few))
    assert main(["mutate"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"2 of {len(few)} changes noticed\n")
    assert "shard_described: scope link instead of activity: the description runs once" in out


def test_mutate_refuses_a_chart_that_is_broken_already(charts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutate", "--chart", "broken_chart:CHART"]) == 2
    assert "see the command check" in one_line(capsys.readouterr().err)
