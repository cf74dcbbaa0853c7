"""What people and log collectors get to see: lines, fields, and nothing that forges either."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fedenvoy import logs
from fedenvoy.commands import Record
from fedenvoy.errors import ConfigurationError
from fedenvoy_statecharts import Event, State
from hypothesis import given
from hypothesis import strategies as st

FIELDS = {"event", "from", "to", "experiment", "digest", "attempt", "entry", "run", "link", "cause", "row"}
NASTY = "x\n12:00:00 INFO fedenvoy forged\r\x1b[2J\x00\u202egnp\u2028\x9b\ud800 end"
logger = logging.getLogger("fedenvoy")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("fedenvoy")
    before = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def record(**changes: Any) -> Record:
    step: dict[str, Any] = {
        "number": 7,
        "entry": 4,
        "run": 2,
        "link": 3,
        "row": "R21",
        "source": State.IDLE,
        "event": Event.EXPERIMENT_OFFERED,
        "target": State.REVIEWING_PLAN,
        "experiment": "mnist",
        "attempt": 1,
        "cause": "'mnist'",
    }
    return Record(**{**step, **changes})


def console(level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.setup(level, "console", stream)
    return stream


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_console_is_one_line_of_time_level_logger_and_message() -> None:
    stream = console()
    logging.getLogger("fedenvoy.link").info("dialling %s", "somewhere")
    time, level, name, *message = stream.getvalue().split()
    assert len(time) == 8
    assert time.count(":") == 2
    assert (level, name, message) == ("INFO", "fedenvoy.link", ["dialling", "somewhere"])


def test_a_transition_is_one_line() -> None:
    stream = console()
    logs.log_transition(logger, record())
    assert stream.getvalue().partition(" INFO fedenvoy ")[2] == (
        "Idle --experiment_offered--> ReviewingPlan experiment='mnist' attempt=1 cause='mnist'\n"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"attempt": 0, "cause": "", "experiment": ""}, "Idle --experiment_offered--> ReviewingPlan"),
        (
            {"source": None, "event": Event.STARTED, "target": State.DISCONNECTED, "attempt": 0, "experiment": ""},
            "* --started--> Disconnected cause='mnist'",
        ),
        (
            {"source": State.TRAINING, "event": Event.STOP_REQUESTED, "target": State.TRAINING, "internal": True},
            "Training --stop_requested--> - experiment='mnist' attempt=1 cause='mnist'",
        ),
    ],
)
def test_a_transition_names_only_what_there_is(changes: dict[str, Any], line: str) -> None:
    stream = console()
    logs.log_transition(logger, record(**changes))
    assert stream.getvalue().rstrip("\n").partition(" fedenvoy ")[2] == line


@pytest.mark.parametrize("fmt", logs.FORMATS)
def test_names_from_outside_forge_no_line_and_steer_no_terminal(fmt: str) -> None:
    stream = io.StringIO()
    logs.setup("info", fmt, stream)
    logs.log_transition(logger, record(experiment=NASTY, cause=NASTY))
    logger.warning("the director says: %s", NASTY)
    lines = stream.getvalue().splitlines(keepends=True)
    assert len(lines) == 2
    assert all(line[:-1].isprintable() and line.endswith("\n") for line in lines)


def test_a_transition_is_escaped_for_every_handler(caplog: pytest.LogCaptureFixture) -> None:
    """Where the embedding program has configured logging, no formatter of ours takes part."""
    with caplog.at_level(logging.INFO):
        logs.log_transition(logger, record(experiment=NASTY, cause=NASTY))
    (line,) = caplog.records
    assert line.getMessage().isprintable()


@given(st.text(st.characters(codec=None)))
def test_whatever_is_escaped_is_printable_and_printable_text_stays(text: str) -> None:
    escaped = logs.escape(text)
    assert escaped.isprintable()
    escaped.encode()
    assert escaped == text or not text.isprintable()


def test_long_names_and_causes_are_cut() -> None:
    stream = console()
    logs.log_transition(logger, record(experiment="n" * 1000, cause="c" * 100_000))
    (line,) = stream.getvalue().splitlines()
    assert f"experiment='{'n' * 99}\N{HORIZONTAL ELLIPSIS}'" in line
    assert len(line) < 700


def test_a_traceback_is_indented_and_escaped() -> None:
    """So that a line of an exception's text cannot pass for a line of the log."""
    stream = console()
    try:
        raise ValueError(NASTY)
    except ValueError:
        logger.exception("failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR fedenvoy failed")
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_a_stream_that_cannot_write_a_character_gets_its_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    logs.setup("info", "console", stream)
    logger.info("M\xfcnchen")
    stream.flush()
    assert raw.getvalue().endswith(b"M\\xfcnchen\n")


def test_json_has_stable_keys() -> None:
    stream = io.StringIO()
    logs.setup("info", "json", stream)
    logger.info("plain %d", 3)
    logs.log_transition(logger, record(source=None, event=Event.STARTED, target=State.DISCONNECTED))
    plain, step = parsed(stream)
    assert set(plain) == {"time", "level", "logger", "message"}
    assert (plain["level"], plain["logger"], plain["message"]) == ("INFO", "fedenvoy", "plain 3")
    assert plain["time"].endswith("+00:00")
    assert set(step) == {"time", "level", "logger", "message"} | FIELDS
    assert (step["from"], step["to"], step["event"]) == (None, "Disconnected", "started")
    assert (step["entry"], step["run"], step["link"], step["attempt"], step["row"]) == (4, 2, 3, 1, "R21")


def test_json_carries_names_whole_up_to_the_bound() -> None:
    stream = io.StringIO()
    logs.setup("info", "json", stream)
    name = "caf\xe9\n\x1b"
    logs.log_transition(logger, record(experiment=name, cause=name))
    (step,) = parsed(stream)
    assert (step["experiment"], step["cause"]) == (name, name)


def test_json_keeps_a_traceback_in_its_field() -> None:
    stream = io.StringIO()
    logs.setup("info", "json", stream)
    try:
        raise ValueError("x")
    except ValueError:
        logger.exception("failed")
    (line,) = parsed(stream)
    assert "ValueError: x" in line["exc_info"]


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_json_works_with_the_older_place_of_the_formatter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pythonjsonlogger.json", None)
    test_json_has_stable_keys()


INTERNAL = {"source": State.TRAINING, "target": State.TRAINING, "internal": True}


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (Event.HEALTH_CHECKED, "DEBUG"),
        (Event.HEALTH_MISSED, "DEBUG"),
        (Event.STOP_REQUESTED, "INFO"),
        (Event.DIRECTOR_LOST, "INFO"),
        (Event.SHARD_FORGOTTEN, "INFO"),
        (Event.LINK_REJECTED, "INFO"),
        (Event.REGISTRATION_ACCEPTED, "INFO"),
        (Event.REGISTRATION_FAILED, "DEBUG"),
    ],
)
def test_internal_steps_are_for_debugging_unless_people_ask_about_them(
    event: Event, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        logs.log_transition(logger, record(**INTERNAL, event=event))
    assert [line.levelname for line in caplog.records] == [level]


def test_every_transition_is_told_also_one_that_leads_back(caplog: pytest.LogCaptureFixture) -> None:
    same = {"source": State.DISCONNECTED, "target": State.DISCONNECTED, "event": Event.REGISTRATION_FAILED}
    with caplog.at_level(logging.INFO):
        for attempt in range(1, 10):
            logs.log_transition(logger, record(**same, attempt=attempt))
    assert [vars(line)["attempt"] for line in caplog.records] == list(range(1, 10))


def test_an_internal_step_that_repeats_itself_is_told_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    same = {**INTERNAL, "event": Event.DIRECTOR_LOST}
    with caplog.at_level(logging.INFO):
        for attempt in range(1, 101):
            logs.log_transition(logger, record(**same, attempt=attempt))
        logs.log_transition(logger, record(attempt=77))
    told = [vars(line)["attempt"] for line in caplog.records]
    assert told == [1, 2, 4, 8, 16, 32, 64, 77]


def test_setup_again_replaces_its_own_handler_and_no_other() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    first = console()
    second = console("error")
    logger.error("once")
    logger.warning("not")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1
    assert other in logging.getLogger().handlers


def test_debug_is_for_us_and_not_for_every_library() -> None:
    stream = console("DEBUG")
    logging.getLogger("fedenvoy.core").debug("ours")
    logging.getLogger("asyncio").debug("theirs")
    logging.getLogger("site").info("the site's")
    assert [line.split(maxsplit=3)[3] for line in stream.getvalue().splitlines()] == ["ours", "the site's"]


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("warning", "console")
    logger.warning("there")
    assert capsys.readouterr().err.endswith("WARNING fedenvoy there\n")


@pytest.mark.parametrize(
    ("level", "fmt", "words"),
    [
        ("loud", "console", "log level 'loud' is not known; use one of debug"),
        ("info", "xml", "use one of console, json"),
    ],
)
def test_a_wrong_level_or_format_is_told_in_one_sentence(level: str, fmt: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        logs.setup(level, fmt, io.StringIO())


def test_importing_and_logging_configures_nothing(caplog: pytest.LogCaptureFixture) -> None:
    handlers = list(logging.getLogger().handlers), list(logger.handlers)
    logs.log_transition(logger, record())
    assert (list(logging.getLogger().handlers), list(logger.handlers)) == handlers


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_repeated_messages_become_a_count_and_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    limited = logs.RateLimited(logger, interval=60.0, clock=clock)
    error = ValueError("x")
    for second in range(130):
        clock.now = float(second)
        limited.log(logging.WARNING, "key", "failed: %s", "why", exc_info=error)
    limited.log(logging.WARNING, "other", "another")
    assert [line.getMessage() for line in caplog.records] == [
        "failed: why",
        "failed: why (59 more like this since the last line)",
        "failed: why (59 more like this since the last line)",
        "another",
    ]
    assert [bool(line.exc_info) for line in caplog.records] == [True, False, False, False]


def test_a_limiter_remembers_a_bounded_number_of_keys(caplog: pytest.LogCaptureFixture) -> None:
    limited = logs.RateLimited(logger, clock=Clock())
    for key in range(300):
        limited.log(logging.WARNING, key, "%d", key)
    assert len(limited._said) == 256
    assert not limited.log(logging.WARNING, 299, "again")


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a\nb"), "ValueError: a\\nb"),
        (KeyError(), "KeyError"),
        (_MuteError(), "_MuteError: (its text cannot be had)"),
    ],
)
def test_errors_are_put_into_words(error: Exception, words: str) -> None:
    assert logs.words(error) == words
