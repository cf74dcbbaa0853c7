"""The long poll: parked, issued anew, cancelled, cut, and handed the right experiment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import pytest
from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import PollSettings
from fedenvoy.link.director import DirectorLink
from fedenvoy.ports import Call
from fedenvoy.testing import Relay, SandboxDirector

Dial = Callable[..., DirectorLink]


class Waiting:
    """A poll in a thread of its own."""

    def __init__(self, link: DirectorLink, pool: ThreadPoolExecutor) -> None:
        self.calls: list[Call] = []
        self.name: Future[str] = pool.submit(link.wait_experiment, self.calls.append)

    def failure(self) -> CallError:
        error = self.name.exception(10)
        assert isinstance(error, CallError)
        return error


def test_an_offer_wakes_a_parked_poll(director: SandboxDirector, dial: Dial) -> None:
    with ThreadPoolExecutor(1) as pool:
        poll = Waiting(dial(), pool)
        director.wait_for_calls("WaitExperiment")
        director.offer("exp", b"", ["two", "one"])
        assert poll.name.result(5) == "exp"
        assert len(poll.calls) == 1


def test_an_offer_that_waits_is_given_at_once(director: SandboxDirector, dial: Dial) -> None:
    director.offer("exp", b"", ["one"])
    assert dial().wait_experiment(lambda _call: None) == "exp"


def test_a_parked_poll_is_cancelled_within_a_second(director: SandboxDirector, dial: Dial) -> None:
    with ThreadPoolExecutor(1) as pool:
        link = dial()
        poll = Waiting(link, pool)
        director.wait_for_calls("WaitExperiment")
        began = time.monotonic()
        poll.calls[0].cancel()
        assert poll.failure().kind is CallKind.CANCELLED
        assert time.monotonic() - began < 1
        poll.calls[0].cancel()  # harmless
        # The link goes on, and once the director has noticed, nothing is lost by it.
        director.wait_for(lambda _calls: not director.parked("one"))
        director.offer("exp", b"", ["one"])
        assert link.wait_experiment(lambda _call: None) == "exp"


def test_a_poll_that_was_cancelled_before_it_began_is_never_sent(director: SandboxDirector, dial: Dial) -> None:
    with pytest.raises(CallError) as caught:
        dial().wait_experiment(lambda call: call.cancel())
    assert caught.value.kind is CallKind.CANCELLED
    assert not director.calls


def test_closing_the_link_ends_a_parked_poll(director: SandboxDirector, dial: Dial) -> None:
    with ThreadPoolExecutor(1) as pool:
        link = dial()
        poll = Waiting(link, pool)
        director.wait_for_calls("WaitExperiment")
        link.close()
        assert poll.failure().kind is CallKind.CANCELLED


def test_a_poll_is_issued_anew_at_its_own_deadline_and_nobody_notices(director: SandboxDirector, dial: Dial) -> None:
    with ThreadPoolExecutor(1) as pool:
        poll = Waiting(dial(poll=PollSettings(timeout=0.2)), pool)
        director.wait_for_calls("WaitExperiment", 4)
        assert not poll.name.done()
        gaps = [later.at - sooner.at for sooner, later in zip(director.calls, director.calls[1:], strict=False)]
        assert all(0.15 < gap < 0.6 for gap in gaps)  # 0.2 s, varied by a fifth
        director.offer("exp", b"", ["one"])
        assert poll.name.result(5) == "exp"
        assert len(poll.calls) == 1  # what cancels it was handed out once


def test_a_poll_that_was_issued_anew_can_still_be_cancelled(director: SandboxDirector, dial: Dial) -> None:
    with ThreadPoolExecutor(1) as pool:
        poll = Waiting(dial(poll=PollSettings(timeout=0.1)), pool)
        director.wait_for_calls("WaitExperiment", 3)
        poll.calls[0].cancel()
        assert poll.failure().kind is CallKind.CANCELLED


def test_a_foreign_too_late_is_no_reason_to_ask_again_at_once(director: SandboxDirector, dial: Dial) -> None:
    director.fail("WaitExperiment", grpc.StatusCode.DEADLINE_EXCEEDED, times=None, details="upstream")
    with pytest.raises(CallError) as caught:
        dial().wait_experiment(lambda _call: None)
    assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, "DEADLINE_EXCEEDED")
    assert len(director.calls) == 1


@pytest.mark.parametrize("code", ["UNAVAILABLE", "UNKNOWN", "CANCELLED", "INTERNAL"])
def test_a_failed_poll_is_told(director: SandboxDirector, dial: Dial, code: str) -> None:
    director.fail("WaitExperiment", grpc.StatusCode[code])
    with pytest.raises(CallError) as caught:
        dial().wait_experiment(lambda _call: None)
    assert (caught.value.kind, caught.value.code) == (CallKind.RETRYABLE, code)


def test_an_offer_without_a_name_is_an_error(director: SandboxDirector, dial: Dial) -> None:
    director.offer("", b"", ["one"])
    with pytest.raises(CallError, match="without a name") as caught:
        dial().wait_experiment(lambda _call: None)
    assert caught.value.kind is CallKind.RETRYABLE


def test_B05_an_offer_whose_reply_was_lost_is_got_by_the_next_poll(dial: Dial) -> None:
    with SandboxDirector(reoffers=True) as director:
        director.offer("exp", b"archive", ["one"])
        director.drop_reply("WaitExperiment")
        link = dial(director=director.address)
        with pytest.raises(CallError) as caught:
            link.wait_experiment(lambda _call: None)
        assert caught.value.kind is CallKind.RETRYABLE
        assert link.wait_experiment(lambda _call: None) == "exp"
        link.close()


def test_B12_an_offer_that_went_to_a_dead_call_is_got_by_a_poll_issued_anew(dial: Dial) -> None:
    with SandboxDirector(reoffers=True) as director, Relay("127.0.0.1", director.address.port) as relay:
        with ThreadPoolExecutor(1) as pool:
            link = dial(director=relay.address, poll=PollSettings(timeout=2.0))
            poll = Waiting(link, pool)
            director.wait_for_calls("WaitExperiment")
            relay.freeze()
            director.offer("exp", b"", ["one"])  # answered into the void
            director.wait_for(lambda _calls: director.handed_out == (("one", "exp"),))
            assert not poll.name.done()
            relay.cut()
            assert poll.failure().kind is CallKind.RETRYABLE
            relay.restore()
            link.close()
            again = dial(director=relay.address)
            assert again.wait_experiment(lambda _call: None) == "exp"
            again.close()


def test_a_director_that_goes_down_ends_the_poll(director: SandboxDirector, dial: Dial) -> None:
    with ThreadPoolExecutor(1) as pool:
        poll = Waiting(dial(), pool)
        director.wait_for_calls("WaitExperiment")
        director.stop()
        assert poll.failure().kind is CallKind.RETRYABLE


def test_polls_and_calls_share_a_channel_in_any_order(director: SandboxDirector, dial: Dial) -> None:
    link = dial()
    with ThreadPoolExecutor(9) as pool:
        polls = [Waiting(link, pool) for _ in range(4)]
        director.wait_for_calls("WaitExperiment", 4)
        checks = [pool.submit(link.experiment_failed, "exp", 1, "") for _ in range(20)]
        for future in checks:
            future.result(10)
        stop = threading.Thread(target=link.close)
        stop.start()
        assert {poll.failure().kind for poll in polls} == {CallKind.CANCELLED}
        stop.join()
