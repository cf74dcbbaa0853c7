"""The health monitor with its own thread, against a director that follows a script."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from fedenvoy.calls import CallError, CallKind
from fedenvoy.events import DeviceReading, Health, Message, Problem, Scopes, ShardDescription
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.monitor.sampler import GpuSampler
from fedenvoy.ports import Call, HealthReply
from fedenvoy_statecharts import Event

PATIENCE = 20.0
READING = DeviceReading(0, 100, 50, "37%", "550.54.15", "12.4", "card")


def failure(kind: CallKind, code: str) -> CallError:
    return CallError(kind=kind, code=code, text="in words")


@dataclass
class JumpingClock:
    """Time that passes exactly when the thread would wait for it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, condition: threading.Condition, timeout: float | None) -> None:
        if timeout is None:
            condition.wait(PATIENCE)
        else:
            self.now += timeout


@dataclass(frozen=True)
class Sent:
    at: float
    running: bool
    readings: tuple[DeviceReading, ...]


@dataclass
class ScriptedDirector:
    """A `DirectorPort` whose health checks go by a script; then they hang until it is closed."""

    clock: Callable[[], float]
    script: list[Any]
    sent: list[Sent] = field(default_factory=list)
    exhausted: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def health_check(self, *, running: bool, readings: Sequence[DeviceReading]) -> HealthReply:
        self.sent.append(Sent(self.clock(), running, tuple(readings)))
        if not self.script:
            self.exhausted.set()
            self.closed.wait(PATIENCE)
            raise failure(CallKind.CANCELLED, "CANCELLED")
        step = self.script.pop(0)
        answer = step() if callable(step) else step
        if isinstance(answer, BaseException):
            raise answer
        reply: HealthReply = HealthReply(answer) if isinstance(answer, float) else answer
        return reply

    def close(self) -> None:
        self.closed.set()

    def register(self, shard: ShardDescription, devices: Sequence[int | str]) -> bool:
        raise NotImplementedError

    def poll_ahead(self) -> None:
        raise NotImplementedError

    def wait_experiment(self, on_call: Callable[[Call], object]) -> str:
        raise NotImplementedError

    def experiment_data(self, experiment: str, on_call: Callable[[Call], object]) -> Iterator[bytes]:
        raise NotImplementedError

    def experiment_failed(self, experiment: str, code: int, text: str) -> None:
        raise NotImplementedError


class Node:
    """What surrounds the monitor: an owner's mailbox, and the answers to its two questions."""

    def __init__(self) -> None:
        self.clock = JumpingClock()
        self.mailbox: SimpleQueue[Message] = SimpleQueue()
        self.running: Callable[[], bool] = lambda: False
        self.readings: Callable[[], tuple[DeviceReading, ...]] = lambda: (READING,)
        self.directors: list[ScriptedDirector] = []
        self.monitor = HealthMonitor(
            self.mailbox.put,
            lambda: self.running(),  # noqa: PLW0108 - tests replace the attribute
            lambda: self.readings(),  # noqa: PLW0108 - likewise
            self.clock,
            pause=self.clock.pause,
        )

    def director(self, *script: Any) -> ScriptedDirector:
        self.directors.append(ScriptedDirector(self.clock, list(script)))
        return self.directors[-1]

    def play(self, *script: Any, scopes: Scopes | None = None) -> ScriptedDirector:
        """Check a director until its script is over."""
        director = self.director(*script)
        self.monitor.begin(director, scopes or Scopes(link=1))
        assert director.exhausted.wait(PATIENCE)
        return director

    def next(self) -> Message:
        return self.mailbox.get(timeout=PATIENCE)

    def told(self) -> list[Message]:
        messages = []
        with contextlib.suppress(Empty):
            while True:
                messages.append(self.mailbox.get_nowait())
        return messages

    def events(self) -> list[Event]:
        return [message.event for message in self.told()]


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.monitor.end()
    for director in node.directors:
        director.close()
    assert node.monitor.stop(PATIENCE)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "UNKNOWN"])
def test_B3_one_failed_check_ends_nothing_and_the_period_is_kept(node: Node, code: str) -> None:
    director = node.play(30.0, failure(CallKind.RETRYABLE, code), 30.0)
    first, missed, again = node.told()
    assert [sent.at for sent in director.sent] == [0.0, 30.0, 40.0, 70.0]
    assert (first.event, again.event) == (Event.HEALTH_CHECKED, Event.HEALTH_CHECKED)
    assert isinstance(missed, Problem)
    assert (missed.event, missed.code, missed.text) == (Event.HEALTH_MISSED, code, "in words")


def _raise(error: BaseException) -> Any:
    raise error


class _UnwritableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("bug"), SystemExit(3), KeyboardInterrupt(), MemoryError(), _UnwritableError(), GeneratorExit()],
)
@pytest.mark.parametrize("where", ["link", "running", "readings"])
def test_B3_nothing_that_is_raised_ends_the_thread(
    node: Node, error: BaseException, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    script: list[Any] = [10.0, 10.0, 10.0]
    if where == "link":
        node.readings = lambda: ()
        script[1:1] = [error]
    elif where == "running":
        node.running = lambda: _raise(error)
    else:
        node.readings = lambda: _raise(error)
    with caplog.at_level(logging.ERROR):
        node.play(*script)
    events = node.events()
    assert events.count(Event.HEALTH_CHECKED) == 3
    assert events.count(Event.HEALTH_MISSED) == (where == "link"), "the director did not hear of this node"
    assert node.monitor.is_alive()
    assert len(caplog.records) == 1, "the same trouble is told once, not at every check"


@pytest.mark.parametrize(
    "reply", [None, 17, SimpleNamespace(period="soon"), HealthReply(float("nan")), HealthReply(-1.0), HealthReply(0.0)]
)
def test_B3_a_reply_that_makes_no_sense_keeps_the_last_period(node: Node, reply: Any) -> None:
    director = node.play(25.0, lambda: reply, 25.0)
    assert [sent.at for sent in director.sent] == [0.0, 25.0, 50.0, 75.0]
    assert [message.period for message in node.told() if isinstance(message, Health)] == [25.0] * 3


def test_B3_a_dead_thread_is_started_again_with_the_next_link(node: Node) -> None:
    """Nothing in this package ends the thread; should anything else do it, the next link mends it."""
    threads: list[threading.Thread] = []

    class Mortal(HealthMonitor):
        def _run(self) -> None:
            threads.append(threading.current_thread())
            if len(threads) > 1:
                super()._run()

    monitor = node.monitor = Mortal(node.mailbox.put, lambda: False, tuple, node.clock, pause=node.clock.pause)
    monitor.begin(node.director(60.0), Scopes(link=1))
    for thread in threads:
        thread.join(PATIENCE)
    assert not monitor.is_alive()
    node.play(60.0, scopes=Scopes(link=2))
    assert [message.scopes.link for message in node.told()] == [2]


def test_B20_the_first_check_goes_out_at_once_with_all_it_carries(node: Node) -> None:
    node.running = lambda: True
    node.play(60.0, scopes=Scopes(entry=5, run=2, link=9))
    (health,) = node.told()
    assert isinstance(health, Health)
    assert node.directors[0].sent[0] == Sent(0.0, running=True, readings=(READING,))
    assert (health.scopes, health.period, health.readings) == (Scopes(5, 2, 9), 60.0, (READING,))


def test_tells_how_long_the_director_took(node: Node) -> None:
    def slow() -> float:
        node.clock.now += 2.5
        return 60.0

    node.play(slow)
    (health,) = node.told()
    assert isinstance(health, Health)
    assert health.latency == 2.5
    assert [sent.at for sent in node.directors[0].sent] == [0.0, 60.0]


def test_three_misses_in_a_row_lose_the_director_and_end_the_checks(node: Node) -> None:
    down = failure(CallKind.RETRYABLE, "UNAVAILABLE")
    director = node.director(60.0, down, down, down, 60.0)
    node.monitor.begin(director, Scopes(link=1))
    events = [node.next().event for _ in range(5)]
    assert events == [Event.HEALTH_CHECKED, *[Event.HEALTH_MISSED] * 3, Event.DIRECTOR_LOST]
    node.monitor.check_now()
    node.monitor.begin(director, Scopes(link=1))
    node.play(60.0, scopes=Scopes(link=2))
    assert len(director.sent) == 4, "a link that was lost is not checked again"
    assert [message.scopes.link for message in node.told()] == [2]


def test_the_end_of_the_directors_belief_loses_it_before_the_third_miss(node: Node) -> None:
    def hang() -> Any:
        node.clock.now += 0.5
        raise failure(CallKind.RETRYABLE, "DEADLINE_EXCEEDED")

    node.monitor.begin(node.director(1.0, hang, hang), Scopes(link=1))
    told = [node.next() for _ in range(4)]
    assert [message.event for message in told] == [
        Event.HEALTH_CHECKED,
        Event.HEALTH_MISSED,
        Event.HEALTH_MISSED,
        Event.DIRECTOR_LOST,
    ]
    assert told[-1].cause.startswith("no health check was answered for")


@pytest.mark.parametrize(
    ("kind", "code", "event"),
    [
        (CallKind.REREGISTER, "NOT_FOUND", Event.SHARD_FORGOTTEN),
        (CallKind.REJECTED, "UNAUTHENTICATED", Event.LINK_REJECTED),
    ],
)
def test_B2_an_answer_that_ends_the_link_is_told_once(node: Node, kind: CallKind, code: str, event: Event) -> None:
    director = node.director(60.0, failure(kind, code), 60.0)
    node.monitor.begin(director, Scopes(link=1))
    assert node.next().event is Event.HEALTH_CHECKED
    problem = node.next()
    assert isinstance(problem, Problem)
    assert (problem.event, problem.code, problem.text) == (event, code, "in words")
    node.monitor.check_now()
    node.monitor.begin(director, Scopes(link=1))
    node.play(60.0, scopes=Scopes(link=2))
    assert len(director.sent) == 2
    assert node.events() == [Event.HEALTH_CHECKED]


def test_a_check_that_this_side_cut_off_says_nothing_of_the_director(node: Node) -> None:
    cut = failure(CallKind.CANCELLED, "CANCELLED")
    director = node.play(60.0, cut, 60.0)
    assert node.events() == [Event.HEALTH_CHECKED, Event.HEALTH_CHECKED]
    assert [sent.at for sent in director.sent] == [0.0, 60.0, 80.0, 140.0]


def test_check_now_tells_at_once_that_a_run_has_ended(node: Node) -> None:
    """Also when a check that still says "running" is on its way."""
    node.running = lambda: True
    under_way, go_on = threading.Event(), threading.Event()

    def slow() -> float:
        under_way.set()
        assert go_on.wait(PATIENCE)
        return 60.0

    director = node.director(slow, 60.0)
    node.monitor.begin(director, Scopes(link=1))
    assert under_way.wait(PATIENCE)
    node.running = lambda: False
    node.monitor.check_now()
    go_on.set()
    assert director.exhausted.wait(PATIENCE)
    assert [(sent.at, sent.running) for sent in director.sent] == [(0.0, True), (0.0, False), (60.0, False)]


def test_asking_again_for_the_same_link_goes_on_counting(node: Node) -> None:
    """The core asks for another check after each miss of an unconfirmed link; that must not save a dead one."""
    down = failure(CallKind.RETRYABLE, "UNAVAILABLE")
    director = node.director(down, down, down)
    monitor = HealthMonitor(node.mailbox.put, lambda: False, tuple)  # on a clock that brings no check by itself
    for count in range(3):
        monitor.begin(director, Scopes(entry=count, link=1))
        miss = node.next()
        assert (miss.event, miss.scopes.entry) == (Event.HEALTH_MISSED, count)
    assert node.next().event is Event.DIRECTOR_LOST
    assert monitor.stop(PATIENCE)


@pytest.mark.parametrize("by", ["end", "begin"])
def test_nothing_is_posted_for_a_link_that_was_taken_away(node: Node, by: str) -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def late() -> float:
        under_way.set()
        assert go_on.wait(PATIENCE)
        return 60.0

    node.monitor.begin(node.director(late), Scopes(link=1))
    assert under_way.wait(PATIENCE)
    if by == "end":
        node.monitor.end()
        go_on.set()
        node.play(60.0, scopes=Scopes(link=2))
    else:
        node.monitor.begin(director := node.director(60.0), Scopes(link=2))
        go_on.set()
        assert director.exhausted.wait(PATIENCE)
    assert [(message.event, message.scopes.link) for message in node.told()] == [(Event.HEALTH_CHECKED, 2)]


def test_an_owner_that_acts_at_once_is_not_told_more(node: Node) -> None:
    """It may drop the link from within `post`: the third miss comes with a loss that is then nobody's business."""
    told: list[Event] = []

    def post(message: Message) -> None:
        told.append(message.event)
        if told.count(Event.HEALTH_MISSED) == 3:
            monitor.end()
            ended.set()

    ended = threading.Event()
    monitor = HealthMonitor(post, lambda: False, tuple, node.clock, pause=node.clock.pause)
    monitor.begin(node.director(*[failure(CallKind.RETRYABLE, "UNKNOWN")] * 3), Scopes(link=1))
    assert ended.wait(PATIENCE)
    assert monitor.stop(PATIENCE)
    assert told == [Event.HEALTH_MISSED] * 3


def test_a_mailbox_that_raises_costs_one_message(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []
    lost = threading.Event()

    def post(message: Message) -> None:
        told.append(message.event)
        if message.event is Event.DIRECTOR_LOST:
            lost.set()
        raise RuntimeError("full")

    monitor = HealthMonitor(post, lambda: False, tuple, node.clock, pause=node.clock.pause)
    monitor.begin(node.director(*[failure(CallKind.RETRYABLE, "UNKNOWN")] * 3), Scopes(link=1))
    assert lost.wait(PATIENCE)
    assert monitor.stop(PATIENCE)
    assert told == [*[Event.HEALTH_MISSED] * 3, Event.DIRECTOR_LOST]
    assert len(caplog.records) == 1


def test_a_clock_that_fails_is_survived(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever breaks inside the monitor itself, too; it takes a breath instead of spinning."""
    failures = [RuntimeError("no clock today")]
    clock = node.clock

    def faulty() -> float:
        if threading.current_thread().name == "fedenvoy-health" and failures:
            raise failures.pop()
        return clock()

    monitor = HealthMonitor(node.mailbox.put, lambda: False, tuple, faulty, pause=clock.pause)
    monitor.begin(node.director(60.0), Scopes(link=1))
    assert node.next().event is Event.HEALTH_CHECKED
    monitor.end()
    node.directors[0].close()
    assert monitor.stop(PATIENCE)


@pytest.mark.parametrize("readings", [lambda: (READING,), lambda: ("no reading",), lambda: None])
def test_B65_a_check_is_never_lost_because_of_gpu_data(node: Node, readings: Callable[[], Any]) -> None:
    """Readings that are none are not sent; readings that cannot be put into the message are left out."""

    class Picky(ScriptedDirector):
        def health_check(self, *, running: bool, readings: Sequence[DeviceReading]) -> HealthReply:
            if readings:
                raise ValueError("out of range")
            return super().health_check(running=running, readings=readings)

    node.readings = readings
    director = Picky(node.clock, [60.0, 60.0])
    node.directors.append(director)
    node.monitor.begin(director, Scopes(link=1))
    assert director.exhausted.wait(PATIENCE)
    assert node.events() == [Event.HEALTH_CHECKED] * 2
    assert [sent.readings for sent in director.sent] == [()] * 3


def test_readings_that_fail_once_are_replaced_by_the_last_ones(node: Node) -> None:
    answers: list[Any] = [(READING,), RuntimeError("driver"), ()]
    node.readings = lambda: _raise(answer) if isinstance(answer := answers.pop(0), Exception) else answer
    director = node.play(60.0, 60.0)
    assert [sent.readings for sent in director.sent] == [(READING,), (READING,), ()]


def test_B72_a_stuck_driver_delays_no_check(node: Node) -> None:
    """B18's lesson for the GPU: the check takes the sampler's last readings while its thread hangs in a call."""
    stuck, release = threading.Event(), threading.Event()

    class Probe:
        def get_driver_version(self) -> str:
            return "550"

        def get_cuda_version(self) -> str:
            return "12.4"

        def get_device_name(self, index: Any) -> str:
            return "card"

        def get_device_memory_total(self, index: Any) -> int:
            return 100

        def get_device_memory_utilized(self, index: Any) -> int:
            return 10

        def get_device_utilization(self, index: Any) -> str:
            stuck.set()
            release.wait(PATIENCE)
            return "1%"

    sampler = GpuSampler(Probe, [0])
    sampler.start()
    assert stuck.wait(PATIENCE)
    node.readings = sampler.readings
    director = node.play(60.0, 60.0, 60.0)
    assert [(sent.at, sent.readings) for sent in director.sent[:3]] == [
        (at, (DeviceReading(0),)) for at in (0.0, 60.0, 120.0)
    ]
    release.set()
    assert sampler.stop(PATIENCE)


def test_begins_no_thread_without_a_link_and_none_after_the_end(node: Node) -> None:
    assert not node.monitor.is_alive()
    node.monitor.check_now()
    node.monitor.end()
    assert node.monitor.stop(0.0)
    node.monitor.begin(node.director(60.0), Scopes(link=1))
    assert not node.monitor.is_alive()


def test_stop_does_not_wait_longer_than_it_may(node: Node) -> None:
    node.play()
    assert not node.monitor.stop(0.01)
    node.directors[0].close()
    assert node.monitor.stop(PATIENCE)


def test_runs_on_the_real_clock() -> None:
    mailbox: SimpleQueue[Message] = SimpleQueue()
    monitor = HealthMonitor(mailbox.put, lambda: False, tuple)
    director = ScriptedDirector(lambda: 0.0, [0.01, 0.01, 0.01])
    monitor.begin(director, Scopes(link=1))
    assert [mailbox.get(timeout=PATIENCE).event for _ in range(3)] == [Event.HEALTH_CHECKED] * 3
    director.close()
    assert monitor.stop(PATIENCE)
