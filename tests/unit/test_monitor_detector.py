"""The failure detector, driven by a simulated schedule: no thread, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from fedenvoy.monitor.detector import DEFAULT_PERIOD, LIMIT, FailureDetector, Finding
from fedenvoy_statecharts import Event
from hypothesis import given
from hypothesis import strategies as st

TERMINAL = {Event.DIRECTOR_LOST, Event.SHARD_FORGOTTEN, Event.LINK_REJECTED}

periods = st.floats(1, 3600)
steps = st.one_of(
    st.tuples(st.just("ok"), periods),
    st.tuples(st.just("missed"), st.floats(0, 1)),
    st.tuples(st.just("interrupted"), st.floats(0, 1)),
    st.tuples(st.sampled_from(["forgotten", "rejected"]), st.just(0.0)),
)


def deadline(period: float) -> float:
    """What the link allows one check."""
    return min(10.0, period / 2)


@dataclass
class Simulation:
    """A link that answers as told; every check is sent when the detector says, or earlier when asked for."""

    detector: FailureDetector = field(default_factory=lambda: FailureDetector(0.0))
    now: float = 0.0
    sent: list[float] = field(default_factory=list)
    found: list[tuple[float, Finding]] = field(default_factory=list)

    def _note(self, findings: tuple[Finding, ...]) -> None:
        self.found += [(self.now, finding) for finding in findings]

    def wait(self) -> bool:
        """Let time pass until a check is due; whether one is."""
        if self.detector.due > self.detector.valid_until:
            self.now = max(self.now, self.detector.valid_until)
            self._note(self.detector.expired(self.now))
        if self.detector.ended:
            return False
        self.now = max(self.now, self.detector.due)
        return True

    def check(self, kind: str, number: float) -> None:
        """Send one check; `number` is the period of an answer, else the share of the deadline that passes."""
        self.sent.append(self.now)
        self.detector.begun(self.now)
        if kind == "ok":
            self._note(self.detector.ok(number))
            return
        self.now += number * deadline(self.detector.period)
        if kind == "missed":
            self._note(self.detector.missed(self.now, "UNAVAILABLE", "gone"))
        elif kind == "interrupted":
            self._note(self.detector.interrupted(self.now))
        elif kind == "forgotten":
            self._note(self.detector.forgotten("NOT_FOUND", "who?"))
        else:
            self._note(self.detector.rejected("UNAUTHENTICATED", "no"))

    @property
    def events(self) -> list[Event]:
        return [finding.event for _, finding in self.found]


@given(st.lists(st.tuples(st.booleans(), steps), max_size=30))
def test_says_one_last_thing_and_never_more(script: list[tuple[bool, tuple[str, float]]]) -> None:
    sim = Simulation()
    for early, (kind, number) in script:
        if (early and not sim.detector.ended) or sim.wait():
            sim.check(kind, number)
    last = [event for event in sim.events if event in TERMINAL]
    assert len(last) <= 1
    assert not last or sim.events[-1] is last[0] is sim.detector.ended
    if sim.detector.ended:
        assert sim.detector.ok(5.0) == sim.detector.missed(sim.now) == sim.detector.interrupted(sim.now) == ()
        assert sim.detector.forgotten() == sim.detector.rejected() == sim.detector.expired(math.inf) == ()
        assert sim.detector.wake == math.inf


@given(st.lists(steps, max_size=30))
def test_loses_the_director_exactly_at_the_limit_or_when_its_belief_ends(script: list[tuple[str, float]]) -> None:
    sim = Simulation()
    misses, answered, period = 0, 0.0, DEFAULT_PERIOD
    for kind, number in script:
        if not sim.wait():
            break
        before = len(sim.found)
        sim.check(kind, number)
        events = [finding.event for _, finding in sim.found[before:]]
        if kind == "ok":
            misses, answered, period = 0, sim.sent[-1], number
            assert events == [Event.HEALTH_CHECKED]
        elif kind == "missed":
            misses += 1
            lost = misses == LIMIT or sim.now >= answered + 2 * period
            assert events == [Event.HEALTH_MISSED] + [Event.DIRECTOR_LOST] * lost
    if sim.detector.ended is Event.DIRECTOR_LOST:
        assert misses == LIMIT or sim.now >= answered + 2 * period
        assert sim.now <= answered + 2 * period + deadline(period)


@given(st.lists(steps, min_size=2, max_size=30))
def test_never_checks_in_a_hot_loop(script: list[tuple[str, float]]) -> None:
    sim = Simulation()
    for kind, number in script:
        if not sim.wait():
            break
        before = sim.now
        sim.check(kind, number)
        if sim.detector.ended:
            break
        if kind == "ok":
            assert sim.detector.due > before
        else:
            assert sim.detector.due >= before + 0.25


@given(period=periods, latency=st.floats(0, 0.99), count=st.integers(1, 20))
def test_keeps_a_fixed_schedule_however_slow_the_answers(period: float, latency: float, count: int) -> None:
    sim = Simulation()
    for _ in range(count):
        assert sim.wait()
        sim.check("ok", period)
        sim.now += latency * period
    assert sim.sent == pytest.approx([n * period for n in range(count)])


@given(period=periods, delays=st.lists(st.floats(0, 0.99), min_size=1, max_size=20))
def test_checks_that_were_sent_late_do_not_shift_the_schedule(period: float, delays: list[float]) -> None:
    sim = Simulation()
    sim.check("ok", period)
    for count, delay in enumerate(delays, 1):
        assert sim.wait()
        assert sim.now == pytest.approx(count * period)
        sim.now += delay * period
        sim.check("ok", period)


@given(period=st.floats(3, 3600), share=st.floats(0, 1))
def test_three_misses_fit_into_the_directors_belief(period: float, share: float) -> None:
    """Also when each takes its whole deadline, three were tried before the time is over."""
    sim = Simulation()
    sim.check("ok", period)
    while sim.wait():
        sim.check("missed", share)
    assert len(sim.sent) - 1 == LIMIT or sim.now >= 2 * period
    if share * deadline(period) <= period / 3:
        assert len(sim.sent) - 1 == LIMIT
        assert sim.now <= 2 * period + 1e-6


@pytest.mark.parametrize("period", [1.0, 2.0, 30.0, 60.0])
def test_an_answer_after_two_misses_starts_the_count_anew(period: float) -> None:
    sim = Simulation()
    sim.check("ok", period)
    for _ in range(5):
        for kind, number in [("missed", 0.0)] * (1 if period < 3 else 2) + [("ok", period)]:
            assert sim.wait()
            sim.check(kind, number)
    assert sim.detector.ended is None
    assert sim.detector.misses == 0


def test_the_first_check_is_due_at_once() -> None:
    assert FailureDetector(17.0).due == 17.0


def test_an_extra_check_moves_the_schedule() -> None:
    detector = FailureDetector(0.0)
    detector.begun(0.0)
    detector.ok(60.0)
    detector.begun(20.0)
    detector.ok(60.0)
    assert detector.due == 80.0
    assert detector.valid_until == 140.0


def test_a_schedule_that_was_slept_through_is_not_made_up_for() -> None:
    detector = FailureDetector(0.0)
    detector.begun(0.0)
    detector.ok(10.0)
    detector.begun(1000.0)
    detector.ok(10.0)
    assert detector.due == 1010.0


def test_tells_people_why_the_director_counts_as_lost() -> None:
    sim = Simulation()
    for _ in range(LIMIT):
        sim.wait()
        sim.check("missed", 0.0)
    assert sim.found[-1][1] == Finding(Event.DIRECTOR_LOST, "UNAVAILABLE", "3 health checks in a row were missed")
    silent = FailureDetector(0.0, 30.0)
    assert silent.expired(59.9) == ()
    assert silent.expired(61.0) == (Finding(Event.DIRECTOR_LOST, "", "no health check was answered for 61 s"),)
