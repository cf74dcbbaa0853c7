"""How one value is read: the tables of what is taken, and what is refused with which words."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.configfile import rules
from hypothesis import given
from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("given_value", "seconds"),
    [
        (0, 0),
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("24h", 86400),
        ("7d", 604800),
        (" 1.5 H ", 5400),
        (".5m", 30),
        ("366d", 366 * 86400),
    ],
)
def test_duration(given_value: object, seconds: float) -> None:
    assert rules.duration(0)(given_value) == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        -1,
        True,
        math.nan,
        math.inf,
        "",
        "s",
        "1w",
        "-5s",
        "1h30m",
        "1e3",
        "367d",
        10**400,
        "9" * 400,
        "\u0661s",
        [],
        {},
        None,
    ],
)
def test_duration_refuses(wrong: object) -> None:
    with pytest.raises(ValueError, match='expected 0 seconds or more, as a number or as "90s"'):
        rules.duration(0)(wrong)


def test_duration_has_a_least() -> None:
    with pytest.raises(ValueError, match=r"expected 0\.1 seconds or more"):
        rules.duration(0.1)("0s")


@pytest.mark.parametrize(
    ("given_value", "amount"),
    [
        (0, 0),
        (1024, 1024),
        ("512", 512),
        ("12B", 12),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("1kB", 1000),
        ("4GiB", 4 * 2**30),
        ("1.5KiB", 1536),
        ("2TiB", 2**41),
    ],
)
def test_size(given_value: object, amount: int) -> None:
    result = rules.size(given_value)
    assert result == amount
    assert isinstance(result, int)


@pytest.mark.parametrize("wrong", [-1, True, math.inf, math.nan, "", "GiB", "4G", "4 Gibibytes", "-4GiB", None, []])
def test_size_refuses(wrong: object) -> None:
    with pytest.raises(ValueError, match='a size such as "500MB" or "4GiB"'):
        rules.size(wrong)


@pytest.mark.parametrize(
    ("given_value", "answer"),
    [(True, True), (False, False), ("yes", True), ("On", True), ("no", False), ("off", False), ("FALSE", False)],
)
def test_boolean(given_value: object, answer: bool) -> None:
    assert rules.boolean(given_value) is answer


@pytest.mark.parametrize("wrong", [0, 1, "", "maybe", None, []])
def test_boolean_refuses(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected true or false"):
        rules.boolean(wrong)


@pytest.mark.parametrize("wrong", [0, True, 1.0, "1", None])
def test_count_refuses(wrong: object) -> None:
    assert rules.count(1)(1) == 1
    with pytest.raises(ValueError, match="expected a whole number, 1 or more"):
        rules.count(1)(wrong)


@pytest.mark.parametrize("wrong", ["LEAVE", "", None, ["leave"], {}])
def test_choice_refuses(wrong: object) -> None:
    assert rules.choice("leave", "report")("leave") == "leave"
    with pytest.raises(ValueError, match=r"expected leave or report$"):
        rules.choice("leave", "report")(wrong)


def test_paths_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    read = rules.file_path(tmp_path)
    assert read("state") == tmp_path / "state"
    assert read("/var/state") == Path("/var/state")
    assert read("~/state") == tmp_path / "user" / "state"


def test_paths_are_of_the_kind_asked_for(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("")
    with pytest.raises(ValueError, match=r"expected a program that may be run; there is none at .*/python"):
        rules.file_path(tmp_path, kind="program")("python")
    program.chmod(0o755)
    assert rules.file_path(tmp_path, kind="program")("python") == program
    with pytest.raises(ValueError, match="expected a directory"):
        rules.file_path(tmp_path, kind="directory")("python")
    with pytest.raises(ValueError, match="expected a file"):
        rules.file_path(tmp_path, kind="file")("nothing")


@pytest.mark.parametrize("wrong", ["", " ", "a\0b", 5, None, ["a"], "~no_such_user_here/x"])
def test_path_refuses(wrong: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a path"):
        rules.file_path(tmp_path)(wrong)


RULES: list[Callable[[object], Any]] = [
    rules.boolean,
    rules.choice("a", "b"),
    rules.count(0),
    rules.duration(0),
    rules.ratio,
    rules.size,
    rules.file_path(Path("/nonexistent"), kind="program"),
]


@given(rule=st.sampled_from(RULES), value=ANYTHING)
def test_a_rule_knows_one_error_only(rule: Callable[[object], Any], value: object) -> None:
    words = "expected"
    try:
        rule(value)
    except ValueError as error:
        words = str(error)
    assert words.startswith("expected")
