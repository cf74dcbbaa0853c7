"""The bound on silence and slowness."""

from __future__ import annotations

import threading
import time

from fedenvoy.link.watchdog import Watchdog


def test_a_wait_that_lasts_too_long_is_ended() -> None:
    bitten = threading.Event()
    with Watchdog(0.05, bitten.set) as watchdog, watchdog.waiting():
        assert bitten.wait(5)
    assert watchdog.bitten


def test_waits_that_bring_enough_are_left_alone_however_many() -> None:
    bitten = threading.Event()
    with Watchdog(0.2, bitten.set) as watchdog:
        for _ in range(10):
            with watchdog.waiting():
                assert not bitten.wait(0.05)
            watchdog.calm(10)
    assert not watchdog.bitten


def test_waits_that_bring_too_little_are_ended_in_time_however_short_each_is() -> None:
    bitten = threading.Event()
    began = time.monotonic()
    with Watchdog(0.5, bitten.set) as watchdog:
        while not bitten.is_set():
            with watchdog.waiting():
                bitten.wait(0.05)
            watchdog.calm(0.01)
            assert time.monotonic() - began < 10
    assert time.monotonic() - began >= 0.5


def test_patience_never_grows_beyond_what_it_was_at_first() -> None:
    bitten = threading.Event()
    with Watchdog(0.1, bitten.set) as watchdog:
        watchdog.calm(3600)
        with watchdog.waiting():
            assert bitten.wait(5)


def test_patience_that_has_become_short_is_looked_at_in_time() -> None:
    bitten = threading.Event()
    with Watchdog(1.0, bitten.set) as watchdog:
        with watchdog.waiting():
            assert not bitten.wait(0.9)
        began = time.monotonic()
        with watchdog.waiting():
            assert bitten.wait(5)
        assert time.monotonic() - began < 0.9, "not a whole patience later"


def test_time_between_waits_does_not_count() -> None:
    bitten = threading.Event()
    with Watchdog(0.05, bitten.set) as watchdog:
        with watchdog.waiting():
            pass
        assert not bitten.wait(0.2)  # the reader writes to a slow disk
        began = time.monotonic()
        with watchdog.waiting():
            assert bitten.wait(5)
        assert time.monotonic() - began >= 0.045
    assert watchdog.bitten


def test_its_thread_ends_at_once() -> None:
    began = time.monotonic()
    with Watchdog(3600, lambda: None) as watchdog, watchdog.waiting():
        pass
    assert time.monotonic() - began < 1
