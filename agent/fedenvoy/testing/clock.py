"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

__all__ = ["ManualClock"]


class ManualClock:
    """Both clocks of a process, moved by hand and in step; thread-safe.

    Args:
        monotonic: Seconds that the monotonic clock begins with.
        time: Seconds since the epoch that the wall clock begins with.

    """

    def __init__(self, monotonic: float = 1_000.0, time: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._time = time

    def monotonic(self) -> float:
        """Give the monotonic clock's seconds; stands in for `time.monotonic`."""
        with self._lock:
            return self._monotonic

    def time(self) -> float:
        """Give the wall clock's seconds since the epoch; stands in for `time.time`."""
        with self._lock:
            return self._time

    def advance(self, seconds: float) -> float:
        """Let time pass on both clocks; give the monotonic clock's new reading.

        Raises:
            ValueError: Time would run backwards.

        """
        if seconds < 0:
            raise ValueError(f"time cannot run backwards: {seconds:g} s")
        with self._lock:
            self._monotonic += seconds
            self._time += seconds
            return self._monotonic

    def set_wall_clock(self, time: float) -> None:
        """Set the wall clock alone, as an administrator or a time server does, also backwards."""
        with self._lock:
            self._time = time
