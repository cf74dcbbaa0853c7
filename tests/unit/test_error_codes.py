"""The page about codes says what the core does with them."""

from __future__ import annotations

import re
from pathlib import Path

from fedenvoy.core.verdicts import CIRCUMSTANCES
from fedenvoy.engines.process import CODES

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
ROWS = {code: who for code, who in re.findall(r"^\| `([^`]+)` \|.*\| (\w+) \|$", PAGE, re.MULTILINE)}


def test_what_the_page_lays_on_this_node_is_what_settles_no_archive() -> None:
    cancelled = {"cancelled"}  # its own verdict, which never settles
    assert {code for code, who in ROWS.items() if who == "node"} - cancelled == CIRCUMSTANCES


def test_the_page_has_every_code_of_an_experiment_s_process() -> None:
    assert set(ROWS) >= CODES
