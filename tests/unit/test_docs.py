"""What the documents say is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fedenvoy.errors import Exit
from fedenvoy_statecharts import LIFECYCLE
from fedenvoy_statecharts.render import render

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_s_picture_is_drawn_from_the_table() -> None:
    (picture,) = re.findall(r"```mermaid\n(.*?)```", README, re.DOTALL)
    assert picture == render(LIFECYCLE, "mermaid-overview")


def test_the_readme_s_exit_codes_are_the_program_s() -> None:
    assert re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE) == [(str(e.value), e.meaning) for e in Exit]


def test_every_exit_code_has_a_paragraph_of_its_own() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d+): ", page, re.MULTILINE) == [str(e.value) for e in Exit]


def test_the_unit_file_knows_after_which_codes_a_start_is_in_vain() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    unit = (ROOT / "agent" / "fedenvoy" / "templates" / "fedenvoy@.service").read_text(encoding="utf-8")
    vain = re.findall(r"^## (\d+): .*until something is changed", page, re.MULTILINE)
    (line,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert set(vain) <= set(line.split())


@pytest.mark.parametrize("generator", ["make_configuration.py", "make_coming_from_openfl.py"])
def test_a_page_that_is_made_is_fresh(generator: str) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / generator), "--check"], timeout=60, check=False)
    assert done.returncode == 0, f"run python docs/{generator}"


def test_the_commands_in_the_readme_are_the_ones_that_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox -p 2" in README
    assert "pip install" in ci
    assert ".venv/bin/tox -p 2" in ci
    assert 'fedenvoy" demo' in ci


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_documents_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
