"""SIGTERM and SIGINT for a node whose owner is the main thread: every signal reaches it, whenever it comes.

Knows a node by three methods. Python runs a handler in the main thread and only once that thread gets back to Python
code; a signal that arrives in the instant before it begins to wait on its mailbox, or that the kernel hands to another
thread, would be answered when the next message comes, up to a health-check period later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

from fedenvoy.errors import Exit

__all__ = ["Stoppable", "answered"]


class Stoppable(Protocol):
    """What signals are told to."""

    def stop(self) -> None:
        """Ask for an orderly end."""

    def abort(self) -> None:
        """Ask for an end at once."""

    def wake(self) -> None:
        """Let the owner thread look up from its mailbox."""


@contextlib.contextmanager
def answered(node: Stoppable) -> Iterator[None]:
    """Answer SIGTERM and SIGINT: the first stops, the second aborts, the third ends the process at once.

    Main thread only; what the signals did before is restored at the end of the block.
    """
    count = 0

    def handle(_signum: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count == 1:
            node.stop()
        elif count == 2:
            node.abort()
        else:
            os._exit(Exit.ABORTED)

    with _noticed(node):
        previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _noticed(node: Stoppable) -> Iterator[None]:
    """Wake the owner at each signal, from a thread that sleeps until Python's own C handler has written a byte."""
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setblocking(False)

        def wait() -> None:
            while reading.recv(64):
                node.wake()

        thread = threading.Thread(target=wait, name="fedenvoy-signals", daemon=True)
        thread.start()
        previous = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            writing.shutdown(socket.SHUT_WR)
            thread.join()
