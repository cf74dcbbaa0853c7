"""A director that offers the same experiment for ever: it runs once, and the director is asked politely."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from fedenvoy.commands import Fetch, Launch, Poll
from fedenvoy.events import Approved, Message
from fedenvoy_statecharts import Event, State
from support.core_driver import Driver

OFFERS = 1000
SETTLED = "d" * 64
"""The digest of the archive that the driver's messages speak of."""


class Insistent:
    """A director that answers every poll at once, with the same name."""

    def __init__(self) -> None:
        self.driver = Driver().to_idle()
        self.driver.feed(Event.EXPERIMENT_OFFERED, Event.PLAN_APPROVED)
        self.launches = 1
        self.driver.feed(Event.TRAINING_FAILED, Event.REPORT_DELIVERED)
        self.polled: list[float] = []
        self.fetched: list[float] = []

    def offers(self, count: int) -> Iterator[State]:
        """Offer again; where the archive is asked for, leave the driver there."""
        driver = self.driver
        for _ in range(count):
            poll = driver.asked_for(Poll)
            driver.now += poll.delay
            self.polled.append(driver.now)
            state = driver.feed(Event.EXPERIMENT_OFFERED)
            if state is State.REVIEWING_PLAN:
                self.fetched.append(driver.now)
                fetch = driver.asked_for(Fetch)
                assert isinstance(fetch, Fetch)
                assert SETTLED in fetch.settled
            yield state
            self.launches += any(isinstance(command, Launch) for command in driver.asked)

    def is_settled(self) -> None:
        """Let the download find that the archive is the old one."""
        self.driver.send(Message(event=Event.ARCHIVE_SETTLED, scopes=self.driver.core.snapshot().scopes))


def most_in(seconds: float, moments: list[float]) -> int:
    """Give the largest number of moments within any span of so many seconds."""
    return max(sum(start <= moment < start + seconds for moment in moments) for start in moments)


def test_B7_a_failed_experiment_offered_a_thousand_times_runs_once_at_a_bounded_rate() -> None:
    director = Insistent()
    for state in director.offers(OFFERS):
        if state is State.REVIEWING_PLAN:
            director.is_settled()
        assert director.driver.core.state is State.IDLE
    assert director.launches == 1
    assert len(director.polled) == OFFERS
    assert most_in(60.0, director.polled) <= 12, "polls a minute"
    assert most_in(600.0, director.polled) <= 60, "polls in ten minutes"
    assert most_in(60.0, director.fetched) == 1
    assert director.fetched[0] - director.polled[0] >= 59, "the first look comes after a minute"
    later = [second - first for first, second in pairwise(director.fetched[6:])]
    assert min(later) >= 29 * 60, "in the end it is looked at twice an hour"


def test_B7_a_new_archive_under_the_old_name_runs_at_the_next_look() -> None:
    director = Insistent()
    for state in director.offers(OFFERS):
        if state is State.REVIEWING_PLAN:
            scopes = director.driver.core.snapshot().scopes
            other = Approved(
                event=Event.PLAN_APPROVED, scopes=scopes, digest="e" * 64, engine="callable", install=False
            )
            assert director.driver.send(other) is State.TRAINING
            break
    assert director.fetched
    assert director.driver.now - director.polled[0] < 130, "a minute's rest and the last of the growing pauses"
