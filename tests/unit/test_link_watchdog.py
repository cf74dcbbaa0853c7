"""The bound on silence."""

from __future__ import annotations

import threading
import time

from fedenvoy.link.watchdog import Watchdog


def test_a_wait_that_lasts_too_long_is_ended() -> None:
    bitten = threading.Event()
    with Watchdog(0.05, bitten.set) as watchdog, watchdog.waiting():
        assert bitten.wait(5)
    assert watchdog.bitten


def test_waits_within_the_limit_are_left_alone_however_many() -> None:
    bitten = threading.Event()
    with Watchdog(0.2, bitten.set) as watchdog:
        for _ in range(10):
            with watchdog.waiting():
                assert not bitten.wait(0.05)
    assert not watchdog.bitten


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
