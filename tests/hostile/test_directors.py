"""Directors that want to break the node, over real gRPC, against the real process; after each it works as before.

Each attack goes on until the node has met it. Then the director becomes a good one, and the next experiment must
finish; the node must still be the same process, and its memory must not have grown by more than a few chunks meanwhile.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count, repeat
from pathlib import Path

import grpc
import pytest
from fedenvoy.link.channel import MAX_CHUNK_BYTES
from fedenvoy.testing import SandboxDirector
from fedenvoy.wire import openfl16_pb2 as wire
from support.archives import archive
from support.processes import Program, node_program
from support.zips import Piece, zipped

MEGABYTE = 2**20
METHODS = ("UpdateShardInfo", "WaitExperiment", "GetExperimentData", "UpdateEnvoyStatus")
MOST_MEMORY = 6 * MAX_CHUNK_BYTES
"""Bytes beyond what the node held before; the largest chunk is in memory a few times over while it is taken in."""
PATIENCE = 90.0
"""Seconds; the longest pause that the node makes after failures, and the good experiment behind it."""
CONFIGURATION = """
shard_descriptor:
  template: my_shard.NumbersShard
  params: {{rank: 2}}
agent:
  state_dir: {state}
  isolation: process
  stop_timeout: 1
  drain_timeout: 1
  link: {{call_timeout: 2}}
  fetch: {{tries: 1, idle_timeout: 1}}
  archive: {{max_bytes: 8MiB, max_unpacked_bytes: 16MiB}}
"""


class Victim:
    """A node in a process of its own, and its director; every wait has a deadline."""

    def __init__(self, place: Path, director: SandboxDirector, program: Program) -> None:
        self.place = place
        self.director = director
        self.program = program
        self._names = count()

    def offer(self, data: bytes, name: str | None = None) -> str:
        """Offer an experiment; give its name."""
        name = f"exp-{next(self._names)}" if name is None else name
        self.director.offer(name, data, to=["node-1"])
        return name

    def seen(self, pattern: str) -> int:
        """Count the node's lines in which something is found."""
        return sum(re.search(pattern, line) is not None for line in self.program.output.splitlines())

    def wait_for(self, pattern: str, number: int = 1) -> None:
        """Wait until so many lines hold something."""
        end = time.monotonic() + PATIENCE
        while self.seen(pattern) < number:
            assert self.program.process.poll() is None, self.program.output
            assert time.monotonic() < end, f"{pattern} was not seen {number} times:\n{self.program.output[-4000:]}"
            time.sleep(0.05)

    def meets(self, pattern: str, attack: Callable[[], object], number: int = 1) -> None:
        """Attack, and wait until so many more lines tell of it."""
        before = self.seen(pattern)
        attack()
        self.wait_for(pattern, before + number)

    def works(self) -> None:
        """Become a good director; the node must finish an experiment, and say that it lives."""
        self.director.heal()
        self.director.set_period(1.0)
        self.meets("--training_finished-->", lambda: self.offer(archive()))
        for name in self.director.experiments:
            self.director.finish(name)
        self.director.wait_for_calls("UpdateEnvoyStatus", len(self.director.calls_of("UpdateEnvoyStatus")) + 1, 20)

    def memory(self, field: str) -> int:
        """Give bytes; of `VmHWM` the most since the last `forget_peak`."""
        status = Path(f"/proc/{self.program.process.pid}/status").read_text("ascii")
        return int(status.split(field + ":")[1].split()[0]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.program.process.pid}/clear_refs").write_text("5", "ascii")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> None:
    """Let the director's threads, which come as they are needed, live from one test to the next."""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    place = tmp_path_factory.mktemp("victim")
    home = place / "home"
    home.mkdir()
    shards = Path(__file__).parents[1] / "support" / "shards.py"
    (home / "my_shard.py").write_bytes(shards.read_bytes())
    (home / "envoy_config.yaml").write_text(CONFIGURATION.format(state=place / "state"), "utf-8")
    with SandboxDirector(period=1.0) as director, node_program(home, director.address.port) as program:
        one = Victim(place, director, program)
        one.works()
        yield one


def chunks(content: bytes) -> wire.ExperimentData:
    return wire.ExperimentData(size=len(content), npbytes=content)


def refuses(data: bytes, words: str) -> Callable[[Victim], None]:
    """Make an attack of an archive that must be refused, and reported once."""

    def attack(victim: Victim) -> None:
        before = len(victim.director.reports)
        victim.meets("--experiment_unusable-->", lambda: victim.offer(data))
        victim.director.wait_for_calls("SetExperimentFailed", before + 1, PATIENCE)
        (report,) = victim.director.reports[before:]
        assert words in report.error_description
        assert f"(archive sha256 {hashlib.sha256(data).hexdigest()})" in report.error_description

    return attack


def streams(
    messages: Callable[[], Iterator[wire.ExperimentData | bytes]], *, pause: float = 0.0
) -> Callable[[Victim], None]:
    """Make an attack of a download; the experiment must fail."""

    def attack(victim: Victim) -> None:
        victim.director.stream(messages, times=None, pause=pause)
        victim.meets("--(experiment_unusable|fetch_interrupted)-->", lambda: victim.offer(archive()))

    return attack


def storm(methods: Sequence[str], code: grpc.StatusCode, seconds: float = 4.0) -> Callable[[Victim], None]:
    """Make an attack of one answer to everything; the node must not answer it by a storm of its own."""

    def attack(victim: Victim) -> None:
        before = len(victim.director.calls)
        for method in methods:
            victim.director.fail(method, code, times=None, details="x" * 5000)
        victim.offer(archive())
        time.sleep(seconds)  # there is nothing to wait for: it is the number of calls in a time that counts
        assert len(victim.director.calls) - before < 25 * seconds

    return attack


def answers(*replies: bytes) -> Callable[[Victim], None]:
    """Make an attack of replies that no method has."""

    def attack(victim: Victim) -> None:
        for reply in replies:
            for method in METHODS:
                victim.director.answer(method, reply, times=2)
        victim.offer(archive())
        wanted = len(victim.director.calls_of("UpdateEnvoyStatus")) + 3
        victim.director.wait_for_calls("UpdateEnvoyStatus", wanted, PATIENCE)

    return attack


def periods(*values: tuple[int, int]) -> Callable[[Victim], None]:
    """Make an attack of periods between health checks: seconds and nanoseconds."""

    def attack(victim: Victim) -> None:
        for seconds, nanos in values:
            reply = wire.UpdateEnvoyStatusResponse()
            reply.health_check_period.seconds, reply.health_check_period.nanos = seconds, nanos
            victim.director.answer("UpdateEnvoyStatus", reply)
        before = len(victim.director.calls_of("UpdateEnvoyStatus"))
        began = time.monotonic()
        victim.director.wait_for_calls("UpdateEnvoyStatus", before + len(values), PATIENCE)
        assert time.monotonic() - began > 0.6 * (len(values) - 1), "not more than one in a second"

    return attack


def name_of(name: str) -> Callable[[Victim], None]:
    """Make an attack of a good experiment with such a name: it must run as any other, below the node's directories."""

    def attack(victim: Victim) -> None:
        before = {path for path in victim.place.parent.iterdir()}
        victim.meets("--training_finished-->", lambda: victim.offer(archive(), name))
        assert {path for path in victim.place.parent.iterdir()} == before
        assert {path.name for path in victim.place.iterdir()} == {"home", "state"}
        lines = victim.program.output.splitlines()
        assert all(line.isprintable() for line in lines), "a name steers no terminal"

    return attack


def unnamed(victim: Victim) -> None:
    victim.director.answer("WaitExperiment", wire.WaitExperimentResponse(), times=3)
    victim.meets("--poll_failed-->", lambda: victim.offer(archive()), 1)


def gigantic(victim: Victim) -> None:
    for method in METHODS:
        victim.director.answer(method, bytes(40 * MEGABYTE), times=1)
    victim.offer(archive())
    wanted = len(victim.director.calls_of("UpdateEnvoyStatus")) + 3
    victim.director.wait_for_calls("UpdateEnvoyStatus", wanted, PATIENCE)


def unaccepted(victim: Victim) -> None:
    victim.director.refuse_shards()
    victim.meets("--registration_refused-->", lambda: victim.director.restart(forget=True), 2)
    victim.director.accept_shapes(None, None)


def offers(victim: Victim) -> None:
    """Offer a thousand experiments that are not there, for a while; then they are gone."""
    for number in range(1000):
        name = f"storm-{number}-" + "x" * 3000
        victim.offer(b"", name)
        victim.director.lose_archive(name)
    before = len(victim.director.calls)
    began = time.monotonic()
    victim.meets("--experiment_withdrawn-->", lambda: None, 5)
    assert len(victim.director.calls) - before < 40 + 8 * (time.monotonic() - began), "no storm of its own"
    victim.director.forget()


FIRST = chunks(b"PK\x03\x04" + bytes(1000))
LIES = wire.ExperimentData(size=2**31, npbytes=b"x")
MANY = b"".join(b"\x0a\x02{}" for _ in range(15_000))
"""A field repeated fifteen thousand times, which some messages have once and others not at all."""
ATTACKS: dict[str, Callable[[Victim], None]] = {
    "wrong sizes": streams(lambda: iter([FIRST, LIES])),
    "an endless stream": streams(lambda: repeat(chunks(bytes(64 * 1024)))),
    "an endless stream of nothing": streams(lambda: repeat(chunks(b"")), pause=0.001),
    "a dripping stream": streams(lambda: repeat(chunks(b"x")), pause=0.1),
    "a silent stream": streams(lambda: iter([FIRST, FIRST]), pause=30),
    "the largest chunks": streams(lambda: repeat(chunks(bytes(MAX_CHUNK_BYTES - 64)))),
    "chunks beyond the largest": streams(lambda: repeat(chunks(bytes(60 * MEGABYTE)))),
    "garbage in a stream": streams(lambda: chain([FIRST], repeat(b"\xff" * 1000))),
    "an empty archive": streams(lambda: iter([chunks(b"")])),
    "a bomb": refuses(zipped([Piece(b"bomb", bytes(40 * MEGABYTE))]), "agent.archive.max_unpacked_bytes"),
    "a path outside": refuses(zipped([Piece(b"../../x")]), "'../../x'"),
    "a link": refuses(zipped([Piece(b"link", b"/etc", 0, mode=0o120777)]), "a link or a device"),
    "no zip file": refuses(b"x" * MEGABYTE, "not a sound zip file"),
    "a plan without end": refuses(archive(plan="a: &a [*a]"), "aliases"),
    "absurd periods": periods((-1, 0), (0, 0), (0, -1), (-(2**63), -(2**31)), (0, 2**31 - 1), (0, 1), (-5, 10**9)),
    "a period of years": periods((2**63 - 1, 2**31 - 1)),
    "no experiment anywhere": storm(("GetExperimentData",), grpc.StatusCode.NOT_FOUND),
    "nobody knows this shard": storm(("UpdateEnvoyStatus",), grpc.StatusCode.NOT_FOUND),
    "nothing is found": storm((*METHODS, "SetExperimentFailed"), grpc.StatusCode.NOT_FOUND),
    "everything is exhausted": storm((*METHODS, "SetExperimentFailed"), grpc.StatusCode.RESOURCE_EXHAUSTED),
    "a path for a name": name_of("../../x"),
    "an absolute path for a name": name_of("/etc/passwd"),
    "three hundred signs for a name": name_of("n" * 300),
    "controls for a name": name_of("\x1b[31mred\r\n\0\x07 name\u202e"),
    "a device for a name": name_of("CON"),
    "dots for a name": name_of(".."),
    "no name": unnamed,
    "an unaccepted shard": unaccepted,
    "bytes that are no messages": answers(b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\0", b"not a message"),
    "messages of other types": answers(
        chunks(b"x" * 5000).SerializeToString(),
        wire.UpdateShardInfoRequest(shard_info=wire.ShardInfo(sample_shape=["1"] * 9000)).SerializeToString(),
        b"\x08\x02" * 9000,
    ),
    "thousands of values in one field": answers(MANY, b"\x12\x00" * 20_000),
    "gigantic messages": gigantic,
    "a thousand offers": offers,
}


def judge(victim: Victim, attack: Callable[[Victim], None]) -> None:
    process, before = victim.program.process.pid, victim.memory("VmRSS")
    victim.forget_peak()
    attack(victim)
    victim.works()
    assert victim.memory("VmHWM") - before < MOST_MEMORY
    assert victim.program.process.poll() is None
    assert victim.program.process.pid == process
    assert "Traceback" not in victim.program.output


@pytest.mark.nightly
@pytest.mark.timeout(300)
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_B38_after_a_hostile_director_a_good_one_finds_the_node_at_work(
    victim: Victim, attack: Callable[[Victim], None]
) -> None:
    judge(victim, attack)


def test_B38_after_the_worst_of_it_in_a_row_a_good_director_finds_the_node_at_work(victim: Victim) -> None:
    for attack in (ATTACKS["a path outside"], ATTACKS["wrong sizes"], periods((-1, 0), (0, 2**31 - 1))):
        attack(victim)
        victim.director.heal()
    judge(victim, ATTACKS["a path for a name"])
