"""A dial whose answer comes when it is no longer wanted: the owner's drop falls between its last look and its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from fedenvoy.app.connection import Connection
from fedenvoy.app.jobs import Jobs
from fedenvoy.commands import Dial
from fedenvoy.events import Message, Scopes, ShardDescription
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.ports import DirectorPort
from fedenvoy_statecharts import Event

DEADLINE = 20.0


class Link:
    """A channel that does something of a test's in the midst of a dial."""

    period = 7.0

    def __init__(self, in_poll: Callable[[], None]) -> None:
        self._in_poll = in_poll
        self.closed = threading.Event()

    def register(self, *_: Any) -> bool:
        return True

    def poll_ahead(self) -> None:
        self._in_poll()

    def close(self) -> None:
        self.closed.set()


class Stage:
    """A connection, the links it opens in turn, and what it posts."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.posted: list[Message] = []
        self.links: list[Link] = []
        self.told = threading.Event()
        monitor = HealthMonitor(self.post, is_running=lambda: False, readings=lambda: ())
        self.connection = Connection(
            open_link=lambda _period: cast("DirectorPort", self.links[-1]),
            target="director:1",
            devices=(),
            post=self.post,
            jobs=self.jobs,
            monitor=monitor,
            readings=lambda: (),
            retention=1.0,
        )
        self.connection.shard = ShardDescription(("1",), ("1",))
        self._monitor = monitor

    def post(self, message: Message) -> None:
        self.posted.append(message)
        self.told.set()

    def dial(self, link: Link) -> None:
        self.links.append(link)
        self.connection.dial(Dial(scopes=Scopes(link=len(self.links))))

    def close(self) -> None:
        self.connection.drop()
        assert self.jobs.close(DEADLINE) == []
        self._monitor.stop(DEADLINE)

    def present(self) -> object:
        """The link that the agent has."""
        return self.connection.link

    @property
    def accepted(self) -> list[int]:
        """The epochs that were told as registered."""
        return [message.scopes.link for message in self.posted if message.event is Event.REGISTRATION_ACCEPTED]


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def wait(link: Link) -> None:
    assert link.closed.wait(DEADLINE)


def test_a_link_is_there_when_its_registration_is_told(stage: Stage) -> None:
    link = Link(lambda: None)
    stage.dial(link)
    assert stage.told.wait(DEADLINE)
    assert stage.present() is link
    stage.connection.drop()
    wait(link)
    assert stage.present() is None
    assert stage.accepted == [1]


def test_a_link_that_is_dropped_in_the_last_moment_of_its_dial_never_arrives(stage: Stage) -> None:
    link = Link(stage.connection.drop)
    stage.dial(link)
    wait(link)
    assert stage.jobs.close(DEADLINE) == []
    assert stage.present() is None
    assert stage.accepted == []


def test_a_link_whose_dial_was_followed_by_another_does_not_take_its_place(stage: Stage) -> None:
    reached, go = threading.Event(), threading.Event()

    def held_up() -> None:
        reached.set()
        assert go.wait(DEADLINE)

    earlier, later = Link(held_up), Link(lambda: None)
    stage.dial(earlier)
    assert reached.wait(DEADLINE)
    stage.dial(later)
    assert stage.told.wait(DEADLINE)
    go.set()
    wait(earlier)
    assert stage.jobs.close(DEADLINE) == []
    assert stage.present() is later
    assert stage.accepted == [2]
