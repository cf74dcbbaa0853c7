"""The counters behind the metrics: what a session's records add up to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fedenvoy.commands import Record, Report, Verdict
from fedenvoy.configfile.listening import listener
from fedenvoy.web.tally import LATENCIES, Tally
from fedenvoy_statecharts import Event, State

REPORT = Report("s-1", "exp", Verdict.FAILED)


def step(event: Event, source: State | None, target: State) -> Record:
    return Record(number=1, entry=1, run=0, link=0, row="", source=source, event=event, target=target)


def test_steps_are_counted_and_time_is_shared_out_among_the_states() -> None:
    now = [100.0]
    tally = Tally(clock=lambda: now[0])
    tally.note(step(Event.STARTED, None, State.DISCONNECTED))
    now[0] += 3
    for _ in range(2):
        tally.note(replace(step(Event.REGISTRATION_FAILED, State.DISCONNECTED, State.DISCONNECTED), attempt=2))
    now[0] += 4
    counts = tally.counts()
    assert counts.transitions["started", "", "Disconnected"] == 1
    assert counts.transitions["registration_failed", "Disconnected", "Disconnected"] == 2
    assert counts.tries == {"registration_failed": 2}
    assert counts.seconds == {"Disconnected": 7.0}


def test_verdicts_enter_and_leave_the_outbox_and_the_oldest_is_known() -> None:
    left = Report("s-0", "earlier", Verdict.FAILED, made_at=50.0)
    tally = Tally([left], wall=lambda: 200.0)
    tally.note(replace(step(Event.TRAINING_FAILED, State.TRAINING, State.REPORTING), report=REPORT))
    assert tally.counts().verdicts == {"failed": 1}
    assert tally.counts().oldest_report == 50.0
    sent = replace(step(Event.REPORT_DELIVERED, State.REPORTING, State.IDLE), delivered="s-0", outcome="sent")
    tally.note(sent)
    assert tally.counts().oldest_report == 200.0
    tally.note(replace(sent, delivered="s-1"))
    assert tally.counts().oldest_report is None
    assert tally.counts().outcomes == {"sent": 2}


@pytest.mark.parametrize(
    ("latency", "place"), [(0.0, 0), (0.005, 0), (0.0051, 1), (10.0, len(LATENCIES) - 1), (11.0, len(LATENCIES))]
)
def test_a_latency_falls_into_the_first_bucket_that_holds_it(latency: float, place: int) -> None:
    tally = Tally()
    tally.note(step(Event.HEALTH_CHECKED, State.IDLE, State.IDLE), latency)
    counts = tally.counts()
    assert [number for number, count in enumerate(counts.latencies) if count] == [place]
    assert counts.latency_sum == latency


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (9464, ("127.0.0.1", 9464)),
        ("9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("localhost:1", ("127.0.0.1", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_where_to_listen_is_read(value: object, meant: tuple[str, int]) -> None:
    assert listener(value) == meant


@pytest.mark.parametrize("value", [0, 65536, -1, True, None, 1.5, "", ":1x", "host.example:80", "::1:9464", "1.2.3:9"])
def test_where_nobody_can_listen_is_refused_with_what_was_expected(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected a port \(9464\)"):
        listener(value)
