"""What of a failure leaves the site, at each level of `agent.report.detail`."""

from __future__ import annotations

import pytest
from fedenvoy.core.told import told_of, without_places
from fedenvoy.events import Problem
from fedenvoy_statecharts import Event

PROBLEM = Problem(
    event=Event.TRAINING_FAILED,
    text="ValueError: patient Jane Roe in /data/scans/roe.dcm",
    code="exception",
    detail="Traceback ...\n  File /data/site/run.py",
    summary="ValueError at src/train.py:12 (its text stays at the site)",
)


def test_B43_each_level_tells_what_it_says_and_no_more() -> None:
    assert told_of(PROBLEM, "code") == "failed on this node (exception)"
    assert told_of(PROBLEM, "summary") == "ValueError at src/train.py:12 (its text stays at the site)"
    assert told_of(PROBLEM, "full") == f"{PROBLEM.text}\n{PROBLEM.detail}"


def test_what_no_experiment_said_is_told_without_the_sites_places() -> None:
    text = "the interpreter /opt/site/bin/python ended; see https://index.hospital.example/simple?user=x"
    problem = Problem(event=Event.TRAINING_FAILED, text=text)
    assert told_of(problem, "summary") == "the interpreter .../python ended; see https://..."
    assert told_of(problem, "code") == "failed on this node (error)"
    assert told_of(problem, "full") == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/etc/passwd", ".../passwd"),
        ("in '/data/a b/c'", "in '.../a b/c'"),
        ("(~/data/x/y)", "(.../y)"),
        ("a/b/c is no place of the site's", "a/b/c is no place of the site's"),
        ("src/train.py:12", "src/train.py:12"),
        ("1/2 of 3/4", "1/2 of 3/4"),
        ("read/write", "read/write"),
        ("/", "/"),
        ("ftp://user:secret@host/x, and more", "ftp://..., and more"),
        ("numpy==1.26", "numpy==1.26"),
        ("the aggregator agg.example:5000", "the aggregator agg.example:5000"),
    ],
)
def test_places_are_taken_out_of_sentences(text: str, told: str) -> None:
    assert without_places(text) == told
