"""The download of an archive: whole, cut, broken, silent, withdrawn, cancelled."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from itertools import repeat

import grpc
import pytest
from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import FetchSettings
from fedenvoy.link.channel import MAX_CHUNK_BYTES
from fedenvoy.link.director import DirectorLink
from fedenvoy.ports import Call
from fedenvoy.testing import Relay, SandboxDirector
from fedenvoy.wire import openfl16_pb2 as wire

Dial = Callable[..., DirectorLink]

MIB = 2**20
CHUNK = 1000
ARCHIVE = bytes(range(250)) * 20  # five chunks


@pytest.fixture
def director() -> Iterator[SandboxDirector]:
    with SandboxDirector(chunk_size=CHUNK) as sandbox:
        sandbox.offer("exp", ARCHIVE, [])
        yield sandbox


def fetch(link: DirectorLink, experiment: str = "exp") -> list[bytes]:
    return [bytes(chunk) for chunk in link.experiment_data(experiment, lambda _call: None)]


def cut(link: DirectorLink) -> tuple[int, CallError]:
    """Give how many whole chunks came, and the error they ended in."""
    chunks: list[bytes] = []
    with pytest.raises(CallError) as caught:
        chunks.extend(bytes(chunk) for chunk in link.experiment_data("exp", lambda _call: None))
    assert b"".join(chunks) == ARCHIVE[: CHUNK * len(chunks)]
    return len(chunks), caught.value


def cut_short(link: DirectorLink) -> tuple[list[bytes], CallError]:
    """Give the chunks that came, whatever they are, and the error they ended in."""
    chunks: list[bytes] = []
    with pytest.raises(CallError) as caught:
        chunks.extend(bytes(chunk) for chunk in link.experiment_data("exp", lambda _call: None))
    return chunks, caught.value


def test_an_archive_comes_whole(director: SandboxDirector, dial: Dial) -> None:
    chunks = fetch(dial())
    assert b"".join(chunks) == ARCHIVE
    assert [len(chunk) for chunk in chunks] == [CHUNK] * 5
    (call,) = director.calls
    assert (call.request.experiment_name, call.request.collaborator_name) == ("exp", "one")


@pytest.mark.parametrize("size", [0, 1, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB])
def test_B26_sizes_at_the_edges_of_a_chunk(dial: Dial, size: int) -> None:
    with SandboxDirector() as director:
        archive = hashlib.sha256(b"seed").digest() * (size // 32 + 1)
        director.offer("exp", archive[:size], [])
        link = dial(director=director.address)
        assert b"".join(fetch(link)) == archive[:size]
        link.close()


def test_B27_a_message_of_5_MiB_comes_in(dial: Dial) -> None:
    with SandboxDirector(chunk_size=5 * MIB) as director:
        director.offer("exp", b"x" * 5 * MIB, [])
        link = dial(director=director.address)
        assert [len(chunk) for chunk in fetch(link)] == [5 * MIB]
        link.close()


@pytest.mark.parametrize("after", [0, 1, 2, 5])
@pytest.mark.parametrize("code", ["UNAVAILABLE", "UNKNOWN", "INTERNAL", "ABORTED"])
def test_B26_a_cut_stream_is_retryable_and_works_the_next_time(
    director: SandboxDirector, dial: Dial, after: int, code: str
) -> None:
    director.cut_stream(after, code=grpc.StatusCode[code])
    link = dial()
    chunks, error = cut(link)
    assert chunks == after
    assert (error.kind, error.code) == (CallKind.RETRYABLE, code)
    assert (f"'exp' was cut after {after * CHUNK} bytes" in error.text) is (after > 0)
    assert b"".join(fetch(link)) == ARCHIVE


@pytest.mark.parametrize("after", [0, 1, 4])
def test_B08_a_chunk_of_the_wrong_size_is_one_clear_error(director: SandboxDirector, dial: Dial, after: int) -> None:
    director.break_chunks(after)
    chunks, error = cut(dial())
    assert chunks == after
    assert error.kind is CallKind.RETRYABLE
    assert "broken chunk" in error.text
    assert "'exp'" in error.text


@pytest.mark.parametrize("words", ["Unexpected <class 'KeyError'>: 'exp'", "Unexpected <class 'FileNotFoundError'>: x"])
def test_B08_what_has_begun_to_arrive_is_not_withdrawn(director: SandboxDirector, dial: Dial, words: str) -> None:
    director.cut_stream(1, code=grpc.StatusCode.UNKNOWN, details=words)
    assert cut(dial())[1].kind is CallKind.RETRYABLE


def test_a_removed_experiment_is_withdrawn(director: SandboxDirector, dial: Dial) -> None:
    link = dial()
    director.lose_archive("exp")
    for _ in range(2):
        with pytest.raises(CallError) as caught:
            fetch(link)
        assert (caught.value.kind, caught.value.code) == (CallKind.WITHDRAWN, "UNKNOWN")
        if "exp" in director.experiments:
            director.remove("exp")


def test_a_refused_download_is_rejected(director: SandboxDirector, dial: Dial) -> None:
    director.fail("GetExperimentData", grpc.StatusCode.PERMISSION_DENIED)
    assert cut(dial())[1].kind is CallKind.REJECTED


@pytest.mark.parametrize("after", [0, 2])
def test_a_silent_download_is_cut_after_the_idle_time(director: SandboxDirector, dial: Dial, after: int) -> None:
    director.hold("GetExperimentData", after_chunks=after)
    began = time.monotonic()
    chunks, error = cut(dial(fetch=FetchSettings(idle_timeout=0.3)))
    assert 0.25 < time.monotonic() - began < 2
    assert chunks == after
    assert (error.kind, error.code) == (CallKind.RETRYABLE, "DEADLINE_EXCEEDED")
    assert "brought less than 1024 bytes a second for 0.3 s" in error.text


@pytest.mark.parametrize("chunk", [b"x", b""], ids=["a byte at a time", "nothing at a time"])
def test_a_dripping_download_is_cut_however_short_its_silences_are(
    director: SandboxDirector, dial: Dial, chunk: bytes
) -> None:
    director.stream(lambda: repeat(wire.ExperimentData(size=len(chunk), npbytes=chunk)), pause=0.02)
    began = time.monotonic()
    _, error = cut_short(dial(fetch=FetchSettings(idle_timeout=0.5)))
    assert 0.5 <= time.monotonic() - began < 5
    assert (error.kind, error.code) == (CallKind.RETRYABLE, "DEADLINE_EXCEEDED")
    assert "less than 1024 bytes a second for 0.5 s" in error.text


def test_a_slow_download_that_is_faster_than_that_comes_whole(director: SandboxDirector, dial: Dial) -> None:
    pieces = [wire.ExperimentData(size=100, npbytes=ARCHIVE[at : at + 100]) for at in range(0, len(ARCHIVE), 100)]
    director.stream(lambda: pieces, pause=0.02)  # a second in all
    link = dial(fetch=FetchSettings(idle_timeout=0.4, min_rate=1000))
    assert b"".join(fetch(link)) == ARCHIVE


@pytest.mark.parametrize("settings", [FetchSettings(idle_timeout=0), FetchSettings(idle_timeout=0.4, min_rate=0)])
def test_without_a_rate_or_a_patience_any_byte_is_progress(
    director: SandboxDirector, dial: Dial, settings: FetchSettings
) -> None:
    pieces = [wire.ExperimentData(size=1, npbytes=b"x")] * 20
    director.stream(lambda: pieces, pause=0.04)
    assert fetch(dial(fetch=settings)) == [b"x"] * 20


def test_an_endless_download_that_is_fast_enough_is_cut_after_its_time(director: SandboxDirector, dial: Dial) -> None:
    director.stream(lambda: repeat(wire.ExperimentData(size=CHUNK, npbytes=bytes(CHUNK))), pause=0.01)
    received, error = cut_short(dial(fetch=FetchSettings(timeout=0.5)))
    assert received
    assert (error.kind, error.code) == (CallKind.RETRYABLE, "DEADLINE_EXCEEDED")
    assert "within 0.5 s" in error.text


NUMBERED = wire.ExperimentData(size=5, npbytes=b"12345").SerializeToString()


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (NUMBERED, b"12345"),
        (NUMBERED[2:] + NUMBERED[:2], b"12345"),
        (NUMBERED[:2] * 3 + NUMBERED[2:], b"12345"),
        (NUMBERED + b"\x1a\x03abc", b"12345"),
        (b"\x08\x85\x80\x80\x80\x00" + NUMBERED[2:], b"12345"),
        (b"", b""),
        (wire.WaitExperimentResponse(experiment_name="exp").SerializeToString(), b""),
    ],
    ids=[
        "as all write it",
        "in another order",
        "a field repeated",
        "a field unknown",
        "a long number",
        "empty",
        "name",
    ],
)
def test_a_chunk_is_read_as_the_protocol_says_whatever_its_form(
    director: SandboxDirector, dial: Dial, message: bytes, content: bytes
) -> None:
    director.stream(lambda: [message])
    assert fetch(dial()) == [content]


@pytest.mark.parametrize(
    "message",
    [
        NUMBERED[:-1],
        NUMBERED[2:],
        b"\x08",
        b"\x12",
        b"\x08\x05\x12\xff\xff\xff\xff\x0f12345",
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff" * 50,
        b"this is no message",
    ],
    ids=repr,
)
def test_garbage_in_place_of_a_chunk_is_one_clear_error(director: SandboxDirector, dial: Dial, message: bytes) -> None:
    director.stream(lambda: [NUMBERED, message])
    received, error = cut_short(dial())
    assert received == [b"12345"]
    assert (error.kind, error.code) == (CallKind.RETRYABLE, "DATA_LOSS")
    assert "broken chunk after 5 bytes" in error.text


def test_a_gigantic_chunk_is_refused_and_costs_no_memory(director: SandboxDirector, dial: Dial) -> None:
    huge = wire.ExperimentData(size=MAX_CHUNK_BYTES, npbytes=bytes(MAX_CHUNK_BYTES))
    director.stream(lambda: [NUMBERED, huge])
    received, error = cut_short(dial())
    assert received == [b"12345"]
    assert (error.kind, error.code) == (CallKind.RETRYABLE, "RESOURCE_EXHAUSTED")
    assert "larger than max" in error.text


def test_a_slow_reader_is_not_silence(director: SandboxDirector, dial: Dial) -> None:
    pause = threading.Event()
    chunks = dial(fetch=FetchSettings(idle_timeout=0.1)).experiment_data("exp", lambda _call: None)
    received = bytearray()
    for chunk in chunks:
        received += chunk
        pause.wait(0.15)  # as a disk that is busy
    assert received == ARCHIVE


@pytest.mark.parametrize("after", [0, 2])
def test_a_download_is_cancelled_within_a_second(director: SandboxDirector, dial: Dial, after: int) -> None:
    director.hold("GetExperimentData", after_chunks=after)
    calls: list[Call] = []
    chunks = dial().experiment_data("exp", calls.append)
    for _ in range(after):
        next(chunks)
    stop = threading.Timer(0.1, calls[0].cancel)
    stop.start()
    began = time.monotonic()
    with pytest.raises(CallError) as caught:
        next(chunks)
    assert time.monotonic() - began < 1
    assert caught.value.kind is CallKind.CANCELLED
    stop.join()
    calls[0].cancel()  # harmless


def test_a_download_that_was_cancelled_before_it_began_is_never_sent(director: SandboxDirector, dial: Dial) -> None:
    with pytest.raises(CallError) as caught:
        list(dial().experiment_data("exp", lambda call: call.cancel()))
    assert caught.value.kind is CallKind.CANCELLED
    assert not director.calls


def test_a_reader_that_stops_early_ends_the_call(director: SandboxDirector, dial: Dial) -> None:
    director.hold("GetExperimentData", after_chunks=1)
    chunks = dial().experiment_data("exp", lambda _call: None)
    assert next(chunks) == ARCHIVE[:CHUNK]
    assert isinstance(chunks, Iterator)
    chunks.close()  # type: ignore[attr-defined]
    director.wait_for(lambda _calls: not director.under_way("GetExperimentData"), timeout=2)


def test_B81_closing_the_link_ends_a_download_under_way(director: SandboxDirector, dial: Dial) -> None:
    director.hold("GetExperimentData", after_chunks=1)
    link = dial()
    chunks = link.experiment_data("exp", lambda _call: None)
    next(chunks)
    stop = threading.Timer(0.1, link.close)
    stop.start()
    with pytest.raises(CallError) as caught:
        next(chunks)
    assert caught.value.kind is CallKind.CANCELLED
    stop.join()


@pytest.mark.parametrize("how", ["cut", "reset_all"])
def test_B26_a_network_that_goes_away_in_the_middle_is_retryable(
    director: SandboxDirector, dial: Dial, how: str
) -> None:
    with Relay("127.0.0.1", director.address.port) as relay:
        director.hold("GetExperimentData", after_chunks=2)
        link = dial(director=relay.address)
        chunks = link.experiment_data("exp", lambda _call: None)
        assert [next(chunks), next(chunks)] == [ARCHIVE[:CHUNK], ARCHIVE[CHUNK : 2 * CHUNK]]
        getattr(relay, how)()
        with pytest.raises(CallError) as caught:
            next(chunks)
        assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, "UNAVAILABLE")
        director.heal()
        relay.restore()
        again = dial(director=relay.address)
        assert b"".join(fetch(again)) == ARCHIVE
        again.close()
        link.close()
