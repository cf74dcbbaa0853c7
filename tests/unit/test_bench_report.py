"""The published figures are those that were recorded: nobody types them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOTH = ("README.md", "bench/README.md")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the report reads and writes."""
    for name in BOTH:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "bench", tmp_path / "bench", dirs_exist_ok=True)
    return tmp_path


def report(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "bench", "report", *options]
    return subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=60, check=False)


def test_the_tables_are_what_the_recorded_results_give() -> None:
    done = report(ROOT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", BOTH)
def test_a_figure_that_was_typed_by_hand_is_noticed_and_mended(copy: Path, name: str) -> None:
    path = copy / name
    right = path.read_text("utf-8")
    head, mark, rest = right.partition("| OpenFL 1.6 |")
    assert mark
    path.write_text(head + mark + rest.replace("0.", "0.0", 1), "utf-8")
    told = report(copy, "--check")
    assert told.returncode == 1
    assert told.stdout.startswith(name)
    assert report(copy).returncode == 0
    assert path.read_text("utf-8") == right


def test_a_result_whose_samples_were_changed_is_noticed(copy: Path) -> None:
    path = copy / "bench" / "results" / "start.json"
    content = json.loads(path.read_text("utf-8"))
    content["series"][0]["samples"]["fedenvoy"] = [0.001] * 5
    path.write_text(json.dumps(content), "utf-8")
    done = report(copy, "--check")
    assert done.returncode != 0
    assert "the medians of" in done.stderr


def test_every_recorded_result_holds_five_samples_of_each_and_says_where_it_was_taken() -> None:
    # Beside them lie the results of the long suites, which measure nothing.
    recorded = {path: json.loads(path.read_text("utf-8")) for path in (ROOT / "bench" / "results").glob("*.json")}
    measured = {path: content for path, content in recorded.items() if "conditions" in content}
    assert measured
    for path, content in measured.items():
        assert all(content["conditions"][key] for key in ("date", "cpu", "cores", "python", "fedenvoy", "openfl"))
        for series in content["series"]:
            assert all(len(values) >= 5 for values in series["samples"].values()), (path.name, series["title"])
