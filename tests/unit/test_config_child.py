"""How `agent.child` is read: limits with a least sensible value, 0 for none, and environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from fedenvoy.config import ChildSettings
from fedenvoy.configfile import rules
from fedenvoy.configfile.agent_section import read_agent
from fedenvoy.configfile.findings import Findings


def test_limits_are_sizes_numbers_and_durations() -> None:
    found = Findings("file")
    section = {
        "child": {
            "memory": "24GiB",
            "processes": 100,
            "open_files": 0,
            "workspace": "1GB",
            "output": "64KiB",
            "log_retention": "7d",
            "nice": 19,
            "env": ["DATA_DIR", "MODE=a=b", "EMPTY="],
        }
    }
    assert read_agent(section, home=Path("/home"), found=found).child == ChildSettings(
        memory=24 * 2**30,
        processes=100,
        open_files=0,
        workspace=10**9,
        output=2**16,
        log_retention=7 * 86400.0,
        nice=19,
        env=("DATA_DIR", "MODE=a=b", "EMPTY="),
    )


@pytest.mark.parametrize(
    ("rule", "wrong", "words"),
    [
        (rules.size_from(2**20, "1MiB"), "1kB", "expected a size, 1MiB or more, or 0 for no limit"),
        (rules.size_from(2**20, "1MiB", never=True), 0, "expected a size, 1MiB or more"),
        (rules.count_from(16), 15, "expected a whole number, 16 or more, or 0 for no limit"),
        (rules.count_from(16), -1, "expected a whole number, 16 or more, or 0 for no limit"),
        (rules.count_from(16), "many", "expected a whole number, 16 or more, or 0 for no limit"),
        (rules.count(0, 19), 20, "expected a whole number, 0 to 19"),
        (rules.count(0, 19), True, "expected a whole number, 0 to 19"),
        (rules.variables, "HF_TOKEN", "expected a list of names and values of environment variables"),
        (rules.variables, ["A B"], "expected a list of names and values of environment variables"),
        (rules.variables, ["1A"], "expected a list of names and values of environment variables"),
        (rules.variables, ["A=\0"], "expected a list of names and values of environment variables"),
        (rules.variables, ["A\n"], "expected a list of names and values of environment variables"),
        (rules.variables, [1], "expected a list of names and values of environment variables"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(rule: rules.Rule[object], wrong: object, words: str) -> None:
    with pytest.raises(ValueError, match="^" + words):
        rule(wrong)
