"""The download of an archive: whole, cut, broken, silent, withdrawn, cancelled."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import FetchSettings
from fedenvoy.link.director import DirectorLink
from fedenvoy.ports import Call
from fedenvoy.testing import Relay, SandboxDirector

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
    return list(link.experiment_data(experiment, lambda _call: None))


def cut(link: DirectorLink) -> tuple[int, CallError]:
    """Give how many whole chunks came, and the error they ended in."""
    chunks: list[bytes] = []
    with pytest.raises(CallError) as caught:
        chunks.extend(link.experiment_data("exp", lambda _call: None))
    assert b"".join(chunks) == ARCHIVE[: CHUNK * len(chunks)]
    return len(chunks), caught.value


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
    assert "brought nothing for 0.3 s" in error.text


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
