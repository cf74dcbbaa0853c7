"""What an auditor is told of a journal: which records, whose runs, in which words, and what is said of bad input."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
import sqlite3
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from fedenvoy.audit.moments import iso, parse, span
from fedenvoy.audit.periods import Period
from fedenvoy.audit.runs import VERDICTS, Runs
from fedenvoy.audit.sheet import svg
from fedenvoy.cli import cli
from fedenvoy.commands import Verdict
from fedenvoy.errors import Exit
from fedenvoy.store.trail import open_trail
from fedenvoy_statecharts import LIFECYCLE, Event, State
from support.trails import BEGUN, DIGEST, LUNG, Diary, hospital


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a journal that all tests read."""
    root = tmp_path_factory.mktemp("trail")
    hospital(root).store.close()
    return root


def invoke(root: Path | None, *arguments: str) -> Result:
    which = () if root is None else ("--state-dir", str(root))
    return CliRunner().invoke(cli, ("audit", *arguments, *which), prog_name="fedenvoy")


def exported(root: Path, *arguments: str) -> list[dict[str, object]]:
    done = invoke(root, "export", *arguments)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_show_tells_sessions_steps_decisions_and_verdicts(root: Path) -> None:
    shown = invoke(root, "show").output
    assert re.search(
        r"^session 68cafe01-0a0a0a0a, version .*: began 2026-11-18 11:06:40, stopped 2026-11-18", shown, re.MULTILINE
    )
    assert "killed 2026-11-19" in shown
    assert "with 'heart' in hand" in shown
    assert "it goes on" in shown
    assert "run 68cafe01-0a0a0a0a-2" in shown
    assert "Bo [uid 1000] at 2026-11-18" in " ".join(shown.split())
    assert f"archive {DIGEST}" in shown
    assert "the verdict left this node: sent" in shown
    assert "health_missed" not in shown
    assert "are left out (--all)" in shown
    assert "health_missed" in invoke(root, "show", "--all").output


def test_export_gives_every_field_of_every_record(root: Path) -> None:
    lines = exported(root)
    with open_trail(root / "hospital_1" / "journal.sqlite3") as trail:
        entries = list(trail.every())
    assert len(lines) == len(entries) > 100
    for line, entry in zip(lines, entries, strict=True):
        assert line["at"] == iso(entry.at)
        assert (line["session"], line["number"], line["event"]) == (entry.session, entry.number, entry.event)
        assert (line["cause"], line["digest"], line["internal"]) == (entry.cause, entry.digest, entry.internal)


def test_a_spreadsheet_gets_no_formula_from_a_director(root: Path) -> None:
    table = invoke(root, "export", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == len(exported(root))
    assert {row["experiment"] for row in rows} == {"", "brain", LUNG, "'=evil", "heart"}
    assert {line["experiment"] for line in exported(root)} == {"", "brain", LUNG, "=evil", "heart"}


@pytest.mark.parametrize(
    ("arguments", "experiments"),
    [
        (("--experiment", "brain"), {"brain"}),
        (("--verdict", "failed"), {"brain", LUNG}),
        (("--verdict", "finished"), {"brain"}),
        (("--verdict", "rejected"), {"=evil"}),
        (("--verdict", "orphaned"), set()),
        (("--person", "anna"), {"brain", LUNG}),
        (("--person", "uid 1000", "--verdict", "finished"), {"brain"}),
        (("--person", "nobody"), set()),
        (("--until", "2026-11-18", "--verdict", "failed"), {LUNG}),
        (("--since", "2026-11-19", "--verdict", "failed"), {"brain"}),
        (("--since", "2026-11-18T23:00", "--until", "2026-11-18T23:30"), set()),
    ],
    ids=" ".join,
)
def test_filters(root: Path, arguments: tuple[str, ...], experiments: set[str]) -> None:
    lines = exported(root, *arguments)
    assert {line["experiment"] for line in lines if line["run"]} == experiments
    if "--verdict" in arguments:
        told = [line for line in lines if line["outcome"]]
        assert bool(told) is bool(experiments), "the delivery belongs to its run"


def test_who_decided_stands_with_each_record_of_a_run(root: Path) -> None:
    by = {line["experiment"]: line["decided_by"] for line in exported(root) if line["run"]}
    assert by["brain"] == "Anna Berg [token anna], Bo [uid 1000]"
    assert by["=evil"] == "the policy (by the rule 'no-pickles')"
    assert by["heart"] == "nobody was asked (everything is accepted here)"


def test_verdicts_are_the_agent_s(root: Path) -> None:
    assert set(VERDICTS) == {verdict.value for verdict in Verdict}
    with open_trail(root / "hospital_1" / "journal.sqlite3") as trail:
        runs = Runs.of(trail)
    told = [(run.experiment, run.verdict, run.outcome) for run in runs.by_key.values()]
    assert told == [
        ("brain", "finished", "sent"),
        (LUNG, "failed", "sent"),
        ("brain", "failed", "sent"),
        ("=evil", "rejected", "sent"),
        ("heart", "", ""),
    ]


def test_verdicts_on_one_name_leave_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    diary = Diary(tmp_path)
    diary.begin()
    diary.connect()
    for event in (Event.PLAN_REJECTED, Event.EXPERIMENT_UNUSABLE):
        diary.step(Event.EXPERIMENT_OFFERED, State.REVIEWING_PLAN, name="brain")
        diary.step(event, State.REPORTING)
        diary.step(Event.REPORT_FAILED, State.IDLE, name="brain")
    for outcome in ("expired", "sent"):
        diary.step(Event.REPORT_DUE, State.REPORTING, name="brain")
        diary.step(Event.REPORT_DELIVERED, State.IDLE, name="brain", outcome=outcome)
    diary.store.close()
    with open_trail(tmp_path / "journal.sqlite3") as trail:
        runs = list(Runs.of(trail).by_key.values())
    assert [(run.verdict, run.outcome) for run in runs] == [("rejected", "expired"), ("failed", "sent")]


def words(drawing: str) -> str:
    """Give all text of a drawing, which must be sound XML."""
    document = ET.fromstring(drawing)
    return "\n".join(node.text or "" for node in document.iter("{http://www.w3.org/2000/svg}text"))


def test_a_run_s_sheet_has_its_times_people_and_digests(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.svg"
    assert invoke(root, "diagram", "--experiment", LUNG, "--out", str(out)).output == ""
    text = words(out.read_text(encoding="utf-8"))
    assert f"Experiment '{LUNG}': failed" in text
    assert "by Anna Berg [token anna], Bo [uid 1000]" in text
    assert f"sha256 {DIGEST}" in text
    assert "locked requirements sha256 0123456789ab..." in text
    assert "exception: ValueError" in text
    assert "sent 2026-11-18" in text
    steps = ["1", "2", "3", "4", "\N{ANTICLOCKWISE OPEN CIRCLE ARROW} 5", "6", "7", "8", "9"]
    assert all(f"\n{step}\n" in text for step in steps)
    assert "in Training: health_checked, 20 times until" in text


def test_a_sheet_names_the_run_and_finds_others(root: Path) -> None:
    last = words(invoke(root, "diagram", "--experiment", "brain").output)
    assert "Run 68cafe02-0a0a0a0a-1; 1 other run of this name" in last
    first = words(invoke(root, "diagram", "--experiment", "brain", "--run", "68cafe01-0a0a0a0a-1").output)
    assert "Experiment 'brain': finished" in first
    assert words(invoke(root, "diagram", "--experiment", "brain", "--until", "2026-11-18").output) == first


def test_a_run_that_was_cut_off_says_so(root: Path) -> None:
    text = words(invoke(root, "diagram", "--experiment", "heart").output)
    assert "unfinished: the session was killed" in text
    assert "to the end" in text


def test_every_arrow_of_the_chart_is_drawn(root: Path) -> None:
    drawing = invoke(root, "diagram", "--experiment", "heart").output
    arrows = re.findall(r'marker-end="url\(#(pale|taken|wrong)\)"', drawing)
    assert arrows.count("taken") == 2
    assert arrows.count("wrong") == 0
    assert len(arrows) == len({(row.source, row.goal) for row in LIFECYCLE.rows if row.goal != row.source})


def test_mermaid_has_the_same_way_and_reads_no_name_as_its_own(root: Path) -> None:
    text = invoke(root, "diagram", "--experiment", LUNG, "--format", "mermaid").output
    assert 'Idle == "1" ==> ReviewingPlan' in text
    assert 'Reporting == "9" ==> Idle' in text
    assert "Idle -.-> Stopped" in text
    assert "Anna Berg #91;token anna#93;" in text
    body = [line for line in text.splitlines() if not line.startswith(("title", "  %%"))]
    assert not any("<x>" in line for line in body)


def test_a_period_counts_states_and_steps(root: Path) -> None:
    with open_trail(root / "hospital_1" / "journal.sqlite3") as trail:
        entries = list(trail.every())
        sessions = {session.id: session for session in trail.sessions()}
    period = Period.of(entries, sessions)
    assert period.records == len(entries)
    assert len(period.sessions) == 3
    assert len(period.steps["Idle", "ReviewingPlan"]["experiment_offered"].each) == 5
    assert period.states["Training"].each == [pytest.approx(280)] * 3 + [0.0]
    assert State.STOPPED not in period.states
    whole = sum(stays.total for stays in period.states.values())
    last = max(entry.at for entry in entries if entry.session == sessions["68cafe03-0a0a0a0a"].id)
    first = [entry for entry in entries if entry.number == 1]
    spans = [first[1].at - first[0].at - 86_400 - 1, first[2].at - first[1].at - 61, last - first[2].at]
    assert whole == pytest.approx(sum(spans))


def test_a_stay_counts_with_its_part_in_the_period(root: Path) -> None:
    with open_trail(root / "hospital_1" / "journal.sqlite3") as trail:
        entries = list(trail.every())
    trained = next(entry for entry in entries if entry.target == "Training")
    period = Period.of(entries, {}, trained.at + 10, trained.at + 30)
    assert period.states["Training"].each == [20.0]
    assert set(period.states) == {"Training"}
    assert period.steps == {}


def test_the_summary_draws_how_often(root: Path) -> None:
    text = words(invoke(root, "diagram", "--summary").output)
    assert "Summary of hospital_1 at director.example:50051" in text
    assert "5 begun: 1 rejected, 2 failed, 1 finished, 1 without a verdict" in text
    assert "5\N{MULTIPLICATION SIGN}" in text
    assert "\N{ANTICLOCKWISE OPEN CIRCLE ARROW} 3\N{MULTIPLICATION SIGN}" in text
    nothing = words(invoke(root, "diagram", "--summary", "--until", "2020-01-01").output)
    assert "none" in nothing


def test_a_long_way_says_what_has_no_room(tmp_path: Path) -> None:
    diary = Diary(tmp_path)
    diary.begin()
    diary.connect()
    diary.step(Event.EXPERIMENT_OFFERED, State.REVIEWING_PLAN, name="endless " * 100)
    for _ in range(200):
        diary.inside(Event.HEALTH_CHECKED)
        diary.inside(Event.HEALTH_MISSED, cause="x" * 500)
    diary.store.close()
    drawing = invoke(None, "diagram", "--file", str(tmp_path / "journal.sqlite3"), "--experiment", "endless " * 100)
    text = words(drawing.output)
    assert "more lines, for which there is no room here" in text
    lowest = max(float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)"', drawing.output))
    assert lowest < 1123
    assert "endless" in text
    assert svg.__doc__


def test_a_living_node_is_read_and_nothing_is_written(tmp_path: Path) -> None:
    diary = hospital(tmp_path)
    try:
        before = {path.name: path.read_bytes() for path in (tmp_path / "hospital_1").iterdir()}
        assert invoke(tmp_path, "show").output.count("\nsession ") == 3
        after = {path.name: path.read_bytes() for path in (tmp_path / "hospital_1").iterdir()}
    finally:
        diary.store.close()
    assert {name: data for name, data in after.items() if not name.endswith("-shm")} == {
        name: data for name, data in before.items() if not name.endswith("-shm")
    }


# ---- Bad input


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("show", "--experiment", "liver"), Exit.ABSENT, "tells of no experiment 'liver'; there are 'brain', "),
        (("export", "--experiment", "liver"), Exit.ABSENT, "tells of no experiment 'liver'"),
        (("diagram", "--experiment", "liver"), Exit.ABSENT, "tells of no experiment 'liver'"),
        (("diagram", "--experiment", "brain", "--run", "x-1"), Exit.ABSENT, "x-1 is no run of 'brain' in this journal"),
        (("diagram", "--experiment", "brain", "--until", "2020-01-01"), Exit.ABSENT, "'brain' was not run then"),
        (("diagram",), Exit.USAGE, "either --experiment NAME, or --summary"),
        (("diagram", "--summary", "--experiment", "brain"), Exit.USAGE, "either --experiment NAME, or --summary"),
        (("show", "--since", "yesterday"), Exit.USAGE, "'yesterday': expected a date (2026-05-12)"),
        (("show", "--until", "2026-13-01"), Exit.USAGE, "--until"),
        (("show", "--verdict", "good"), Exit.USAGE, "finished"),
        (("show", "-n", "clinic"), Exit.ABSENT, "no such node keeps its state in"),
        (("export", "--out", "/nowhere/x"), Exit.CONFIGURATION, "/nowhere/x: cannot be written: No such file"),
        (("diagram", "--summary", "--out", "/nowhere/x"), Exit.CONFIGURATION, "cannot be written: No such file"),
        (("show", "--file", "/nowhere/x"), Exit.STORE, "/nowhere/x is not there: expected the journal of a node"),
        (("show", "--file", "/"), Exit.STORE, "/ is a directory: expected a journal's file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input(root: Path, arguments: tuple[str, ...], code: Exit, sentence: str) -> None:
    done = invoke(root, *arguments)
    assert done.exit_code == code, done.output
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_a_node_that_never_started(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "node.json").write_text('{"shard_name": "a", "director": "d:1"}')
    done = invoke(tmp_path, "show")
    assert (done.exit_code, done.output) == (
        Exit.ABSENT,
        "fedenvoy: error: a at d:1 has no journal yet: it has not been started\n",
    )


def test_a_newer_file(root: Path, tmp_path: Path) -> None:
    copy = copied(root, tmp_path)
    with contextlib.closing(sqlite3.connect(copy)) as db:
        db.execute("PRAGMA user_version = 99")
    done = invoke(None, "show", "--file", str(copy))
    assert done.exit_code == Exit.STORE
    assert "a newer fedenvoy: upgrade this one (format 99" in done.output


@pytest.mark.parametrize("command", [("show",), ("export",), ("diagram", "--summary")], ids=" ".join)
def test_a_damaged_file(root: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    copy = copied(root, tmp_path)
    copy.write_bytes(b"no database" * 1000)
    done = invoke(None, *command, "--file", str(copy))
    assert done.exit_code == Exit.STORE
    assert done.output.count("\n") == 1
    assert "cannot be read: file is not a database" in done.output


@pytest.mark.parametrize("change", ["at = 'noon'", "at = 1e300", "source = x'07'", "cause = x'ff'", "number = 1.5"])
@pytest.mark.parametrize("command", [("export",), ("diagram", "--summary")], ids=" ".join)
def test_a_record_that_is_none(root: Path, tmp_path: Path, command: tuple[str, ...], change: str) -> None:
    copy = copied(root, tmp_path)
    with contextlib.closing(sqlite3.connect(copy)) as db:
        db.execute(f"UPDATE journal SET {change} WHERE session = 2 AND number = 3")
        db.commit()
    done = invoke(None, *command, "--file", str(copy))
    assert done.exit_code == Exit.STORE
    assert "is damaged: a record of session 68cafe02-0a0a0a0a cannot be read" in done.output


def copied(root: Path, to: Path) -> Path:
    """Give a copy of the journal, as somebody takes it to another machine."""
    return Path(shutil.copy(root / "hospital_1" / "journal.sqlite3", to))


def test_an_empty_file_and_another_database(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    path.write_bytes(b"")
    assert "holds no journal" in invoke(None, "show", "--file", str(path)).output


# ---- Times


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("2026-11-18", False, 1_794_960_000.0),
        ("2026-11-18", True, 1_795_046_400.0),
        ("2026-11-18T11:06:40", True, BEGUN),
        ("2026-11-18 11:06:40", False, BEGUN),
        ("2026-11-18T11:06:40Z", False, BEGUN),
        ("2026-11-18T12:06:40+01:00", False, BEGUN),
        ("2h", False, BEGUN - 7200),
        ("1.5d", False, BEGUN - 129_600),
    ],
)
def test_times_are_read_in_utc(text: str, end: bool, expected: float) -> None:
    assert parse(text, end=end, now=BEGUN) == expected


def test_durations() -> None:
    assert [span(x) for x in (0, 0.25, 9.99, 61, 3600, 90_000, -61)] == [
        *("0.00 s", "0.25 s", "9.99 s", "1 min 1 s", "1 h", "1 d 1 h", "-1 min 1 s"),
    ]
