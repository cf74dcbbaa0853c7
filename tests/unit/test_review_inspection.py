"""What an inspection says of a workspace, and what changed against another: by reading, never by running."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
from fedenvoy.review import differences, inspection, sources
from fedenvoy.review.differences import compare
from fedenvoy.review.inspection import inspect
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pickled import carried, touches


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    (path / "plan").mkdir(parents=True)
    (path / "plan" / "plan.yaml").write_text("aggregator: {}\n")
    return path


def test_files_are_told_with_kind_size_and_lines(workspace: Path) -> None:
    (workspace / "code.py").write_text("import os\n\n\ndef run():\n    return os.getcwd()")
    (workspace / "notes.txt").write_text("one\ntwo\n")
    (workspace / "model.bin").write_bytes(b"\0\1\2")
    (workspace / "tasks.pkl").write_bytes(carried())
    found = {one.path: one for one in inspect(workspace).files}
    assert list(found) == ["code.py", "model.bin", "notes.txt", "plan/plan.yaml", "tasks.pkl"]
    assert (found["code.py"].kind, found["code.py"].lines, found["code.py"].flags) == ("python", 5, ("os",))
    assert (found["notes.txt"].kind, found["notes.txt"].lines, found["notes.txt"].size) == ("text", 2, 8)
    assert found["model.bin"].kind == "binary"
    assert found["tasks.pkl"].kind == "pickle"


def test_pickles_are_found_by_name_by_content_and_by_the_plan(workspace: Path) -> None:
    canary = workspace / "canary"
    (workspace / "a.dill").write_bytes(touches(canary))
    (workspace / "b.dat").write_bytes(touches(canary, 0))
    (workspace / "c.dat").write_bytes(b"no pickle")
    plan = {"api_layer": {"settings": {"tasks_interface_file": "./c.dat", "more": 3}}}
    found = {one.place: one for one in inspect(workspace, plan).pickles}
    assert found["a.dill"].flags == found["b.dat"].flags == ("posix",)
    assert found["c.dat"].problem
    assert not canary.exists()


@pytest.mark.parametrize(
    "plan",
    [{"api_layer": None}, {"api_layer": []}, {"api_layer": {"settings": "x"}}, {"api_layer": {"settings": None}}],
)
def test_a_strange_plan_names_no_pickles(workspace: Path, plan: dict[str, object]) -> None:
    assert inspect(workspace, plan).pickles == ()


def test_python_that_cannot_be_parsed_is_told_and_harms_nothing(workspace: Path) -> None:
    (workspace / "wrong.py").write_text("def run(:\n")
    (workspace / "deep.py").write_text("x = " + "-" * 200_000 + "1\n")
    (workspace / "brackets.py").write_text("(" * 100_000)
    (workspace / "zero.py").write_bytes(b"x = 1\0")
    (workspace / "latin.py").write_bytes(b"x = '\xe4'\n")
    (workspace / "z_good.py").write_text("import subprocess, numpy\nfrom urllib.request import urlopen\neval('1')\n")
    found = {one.path: one for one in inspect(workspace).files}
    assert found["wrong.py"].problem.startswith("line 1: ")
    for name in ("deep.py", "brackets.py", "zero.py", "latin.py"):
        assert found[name].problem, name
    assert found["z_good.py"].problem == ""
    assert found["z_good.py"].flags == ("eval", "subprocess", "urllib")


def test_a_parser_that_ends_costs_one_file_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = workspace / "program.py"
    text = sources._PROGRAM.read_text()
    program.write_text(
        text.replace(
            "    try:\n        tree",
            "    if 'bad' in path:\n        import os\n        os.abort()\n    try:\n        tree",
        )
    )
    monkeypatch.setattr(sources, "_PROGRAM", program)
    names = ["a.py", "bad.py", "c.py"]
    for name in names:
        (workspace / name).write_text("import os\n")
    found = sources.parse([workspace / name for name in names], 30)
    assert [one.flags for one in found] == [("os",), (), ("os",)]
    assert "ended" in found[1].problem


def test_a_parser_that_ends_again_and_again_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit(3)")
    monkeypatch.setattr(sources, "_PROGRAM", program)
    found = sources.parse([tmp_path / str(number) for number in range(5)], 30)
    assert len(found) == 5
    assert all(one.problem for one in found)


def test_links_lead_nowhere(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("import os\n")
    (workspace / "link.py").symlink_to(tmp_path / "secret.py")
    (workspace / "folder").symlink_to(tmp_path)
    os.mkfifo(workspace / "pipe")
    assert [one.path for one in inspect(workspace).files] == ["plan/plan.yaml"]


def test_a_workspace_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        inspect(tmp_path / "none")


def test_too_many_files_are_said_to_be_too_many(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "FILES", 2)
    for number in range(3):
        (workspace / f"{number}.txt").write_text("x")
    found = inspect(workspace)
    assert len(found.files) == 2
    assert found.problems == ("2 of 4 files were not looked at",)
    assert "Not complete" in found.text()


def test_what_uses_up_the_budget_hides_nothing_behind_it(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "STEPS", 2000)
    (workspace / "a.txt").write_bytes(b"N0" * 3000)  # such a text is a pickle without end, and no file is named so
    (workspace / "b.dat").write_bytes(touches(workspace / "canary", 0))
    found = inspect(workspace)
    assert [one.place for one in found.pickles] == ["a.txt"]
    assert "opcodes" in found.pickles[0].problem
    assert found.problems == ("pickles were not looked for in all files: it has more opcodes than are looked at",)


def test_text_is_safe_to_print_and_json_is_json(workspace: Path) -> None:
    (workspace / "a\u202eb.py").write_text("import os\n")
    (workspace / "tasks.pkl").write_bytes(carried())
    found = inspect(workspace)
    assert all(line.isprintable() for line in found.text().split("\n"))
    assert "a\\u202eb.py: python" in found.text()
    again = json.loads(json.dumps(found.as_dict()))
    assert again["pickles"][0]["code_flags"] == ["eval"]


# ---- What changed


def test_changes_are_shown_line_by_line(workspace: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    (old / "plan").mkdir(parents=True)
    (old / "plan" / "plan.yaml").write_text("aggregator: {}\n")
    (old / "code.py").write_text("import os\nx = 1\n")
    (old / "gone.py").write_text("gone = 1\n")
    (workspace / "code.py").write_text("import os\nx = 2\x1b[2J\n")
    (workspace / "new.py").write_text("new = 1\n")
    found = compare(old, workspace)
    assert found.same == 1
    assert [(one.path, one.kind) for one in found.changes] == [
        ("code.py", "changed"), ("gone.py", "removed"), ("new.py", "added")
    ]  # fmt: skip
    assert "-x = 1" in found.changes[0].lines
    assert "+x = 2\\x1b[2J" in found.changes[0].lines
    assert "+new = 1" in found.changes[2].lines
    assert all(line.isprintable() for line in found.text().split("\n"))


def test_an_archive_is_compared_as_well_as_a_workspace(workspace: Path, tmp_path: Path) -> None:
    archive = tmp_path / "approved.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("plan/plan.yaml", "aggregator: {}\n")
        opened.writestr("data/", "")
        opened.writestr("code.py", "x = 1\n")
    (workspace / "code.py").write_text("x = 1\n")
    assert compare(archive, workspace).changes == ()
    (workspace / "code.py").write_text("x = 2\n")
    assert compare(archive, workspace).changes[0].lines[-2:] == ("-x = 1", "+x = 2")


def test_pickles_are_compared_by_what_they_do(workspace: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "tasks.pkl").write_bytes(pickle.dumps([1]))
    (workspace / "tasks.pkl").write_bytes(touches(workspace / "canary"))
    change = next(one for one in compare(old, workspace).changes if one.path == "tasks.pkl")
    assert "+LOOK TWICE AT: posix" in change.lines
    assert not (workspace / "canary").exists()


def test_large_and_binary_files_are_named_without_lines(workspace: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "a.bin").write_bytes(b"\0" * 10)
    (workspace / "a.bin").write_bytes(b"\0\1" * 10)
    (workspace / "plan" / "plan.yaml").unlink()
    (change,) = compare(old, workspace).changes
    assert change.lines == ()
    assert "binary" in change.note


@pytest.mark.parametrize("one_line", [True, False])
def test_texts_made_to_be_slow_are_compared_in_time(workspace: Path, tmp_path: Path, one_line: bool) -> None:
    old = tmp_path / "old"
    old.mkdir()
    lines = ["same"] * 3000 if one_line else [str(number % 150) for number in range(3000)]
    (old / "a.txt").write_text("\n".join(lines))
    (workspace / "a.txt").write_text("\n".join(reversed([*lines, "more"])))
    change = compare(old, workspace).changes[0]
    assert any("more" in line for line in change.lines)


def test_the_lines_shown_have_a_bound(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "_LINES", 10)
    for name in ("a.txt", "b.txt"):
        (workspace / name).write_text("x\n" * 100)
    empty = tmp_path / "empty"
    empty.mkdir()
    found = compare(empty, workspace)
    assert sum(len(one.lines) for one in found.changes) <= 11
    assert "not shown" in found.changes[-1].note
    assert found.problem


@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
@settings(deadline=None)
def test_a_diff_has_every_line_of_both(old: list[str], new: list[str]) -> None:
    for pairs in (differences._PAIRS, 4):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(differences, "_PAIRS", pairs)
            lines = [line for line in differences._unified(old, new) if not line.startswith(("---", "+++", "@@"))]
        gone = sorted(line[1:] for line in lines if line.startswith("-"))
        come = sorted(line[1:] for line in lines if line.startswith("+"))
        assert sorted(old + come) == sorted(new + gone)
