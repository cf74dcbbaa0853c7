"""SIGTERM, SIGINT and SIGHUP for a node: every signal reaches it, whenever it comes and whatever keeps its owner busy.

Knows a node by three methods. Python runs a signal's handler in the main thread, once that thread gets back to Python
code; one that sleeps on its mailbox or waits for a disk would answer late or never. So a thread answers that sleeps
until Python's own C handler has written the signal's number to a socket.
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

_ENDING = (signal.SIGTERM, signal.SIGINT)
_ANSWERED = (*_ENDING, signal.SIGHUP)


class Stoppable(Protocol):
    """What signals are told to; called in a thread of their own."""

    def stop(self) -> None:
        """Ask for an orderly end."""

    def abort(self) -> None:
        """Ask for an end at once."""

    def reconnect(self) -> None:
        """Ask for a new connection to the director."""


@contextlib.contextmanager
def answered(node: Stoppable) -> Iterator[None]:
    """Answer SIGTERM and SIGINT: the first stops, the second aborts, the third ends the process at once.

    SIGHUP has the node connect anew, which makes renewed certificates take effect.

    Main thread only; what the signals did before is restored at the end of the block, unless somebody has taken them
    over within it.
    """
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setblocking(False)
        thread = threading.Thread(target=_answer, args=(node, reading), name="fedenvoy-signals", daemon=True)
        thread.start()
        previous_fd = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        previous = {number: signal.signal(number, _noticed) for number in _ANSWERED}
        try:
            yield
        finally:
            for number, handler in previous.items():
                if signal.getsignal(number) is _noticed:
                    signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            writing.shutdown(socket.SHUT_WR)
            thread.join()


def _noticed(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that there is a handler makes Python write the number."""


def _answer(node: Stoppable, reading: socket.socket) -> None:
    count = 0
    while numbers := reading.recv(64):
        for number in numbers:
            if number == signal.SIGHUP:
                node.reconnect()
            if number not in _ENDING:
                continue  # answered just now, or another handler's of this process
            count += 1
            if count == 1:
                node.stop()
            elif count == 2:
                node.abort()
            else:
                os._exit(Exit.ABORTED)
