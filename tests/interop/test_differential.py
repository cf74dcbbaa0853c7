"""The same director, message by message, in front of OpenFL 1.6's envoy and of ours: all differences are in a table.

`differential/scripts.py` holds what is played, `differential/differences.py` the table, and the document for people
who come from OpenFL is made from it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from interop.differential.differences import DIFFERENCES, ROWS
from interop.differential.scripts import SCRIPTS, Script
from interop.differential.stage import Kind, Observed, stage

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 6
"""Nodes at the same time: importing OpenFL takes three seconds of a processor, and after that they mostly wait."""


class Played(NamedTuple):
    """What was seen of one node, and the seconds from its registration to its first poll."""

    observed: Observed
    window: float | None


Seen = Mapping[tuple[str, Kind], "Future[Played]"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, openfl_python: Path) -> Seen:
    """What was seen of both in every script; what went wrong in one is raised by its `result`."""
    place = tmp_path_factory.mktemp("differential")

    def play(number: int, script: Script, kind: Kind) -> Played:
        with stage(kind, script.site, script.make_director, place / f"{number}-{kind.value}", openfl_python) as on:
            return Played(script.observe(on), on.window())

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {
            (script.name, kind): pool.submit(play, number, script, kind)
            for number, script in enumerate(SCRIPTS)
            for kind in Kind
        }


@pytest.mark.parametrize("script", [script.name for script in SCRIPTS])
def test_all_differences_are_in_the_table_and_no_other(script: str, seen: Seen) -> None:
    original, ours = (seen[script, kind].result().observed for kind in Kind)
    assert original.keys() == ours.keys()
    differences = {aspect: (original[aspect], ours[aspect]) for aspect in ours if original[aspect] != ours[aspect]}
    told = {entry.aspect: (entry.original, entry.ours) for entry in DIFFERENCES if entry.script == script}
    assert differences == told


@pytest.mark.parametrize("script", [script.name for script in SCRIPTS])
def test_both_came_as_far_as_the_script_is_about(script: str, seen: Seen) -> None:
    """Two programs that did nothing would be alike."""
    ours = seen[script, Kind.OURS].result().observed
    assert ours["calls"].startswith("register")


def test_the_first_poll_comes_no_later_than_the_original_s(seen: Seen) -> None:
    """Until then OpenFL's director fails everybody who lists its nodes; `bench` measures it on a quiet machine."""
    windows = {
        kind: [
            seen[script.name, kind].result().window
            for script in SCRIPTS
            if script.name != "the director is not up at start"
        ]
        for kind in Kind
    }
    medians = {kind: statistics.median(w for w in told if w is not None) for kind, told in windows.items()}
    assert medians[Kind.OURS] <= medians[Kind.ORIGINAL]


def test_the_table_speaks_of_scripts_and_rows_there_are() -> None:
    assert {entry.script for entry in DIFFERENCES} <= {script.name for script in SCRIPTS}
    assert len({(entry.script, entry.aspect) for entry in DIFFERENCES}) == len(DIFFERENCES)
    assert {entry.row for entry in DIFFERENCES} == {key for key, row in ROWS.items() if not row.shown_by}
    assert len({script.name for script in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize("key", [key for key, row in ROWS.items() if row.shown_by])
def test_every_other_row_is_shown_by_a_test(key: str) -> None:
    file, _, function = ROWS[key].shown_by.partition("::")
    assert f"def {function}(" in (ROOT / file).read_text("utf-8")
