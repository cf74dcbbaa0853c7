"""The guide to property tests: its code is the examples', they pass, and they fail when what they test is broken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"
GUIDE = DOCS / "property-tests.md"
EXAMPLES = DOCS / "examples"
UNSHRUNK = """
from hypothesis import Phase, settings

settings.register_profile("unshrunk", phases=[Phase.explicit, Phase.generate])
settings.load_profile("unshrunk")
"""


def run(directory: Path, *options: str) -> tuple[int, str]:
    """Run examples as a reader would, without a trace in the checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(directory)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_every_block_of_the_guide_stands_in_an_example() -> None:
    sources = [path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")]
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 5
    for block in blocks:
        assert any(block in source for source in sources), block


def test_every_file_that_the_guide_names_is_there() -> None:
    links = re.findall(r"\]\((examples/[^)]*)\)", GUIDE.read_text(encoding="utf-8"))
    assert len(links) > 3
    for link in links:
        assert (DOCS / link).exists(), link


def test_examples_pass(tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    code, told = run(copy)
    assert code == 0, told


@pytest.mark.parametrize(
    ("file", "good", "bad", "test"),
    [
        ("site_review.py", "if digest in approved:", "if len(approved) > 99:", "ReviewWalk"),
        ("site_review.py", "yaml.YAMLError, ValueError, RecursionError", "yaml.YAMLError", "any_file"),
        ("script_engine.py", ".resolve().is_relative_to(workspace.resolve())", "", "outside"),
        (
            "backup_chart.py",
            "Row(P.CHECKING, H.RETIRE, P.RETIRED, (), (D.UNMOUNT,))",
            "Row(P.CHECKING, H.RETIRE, P.RETIRED)",
            "R09",
        ),
    ],
    ids=["quota counts calls", "one error is caught", "any path is taken", "a disk stays mounted"],
)
def test_examples_find_what_is_broken(tmp_path: Path, file: str, good: str, bad: str, test: str) -> None:
    copy = shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    source = (copy / file).read_text(encoding="utf-8")
    assert good in source
    (copy / "conftest.py").write_text(UNSHRUNK, encoding="utf-8")
    (copy / file).write_text(source.replace(good, bad), encoding="utf-8")
    code, told = run(copy, "-k", test)
    assert code == 1, told
    assert "Error" in told
