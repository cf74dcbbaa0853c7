"""The last step of the program: it ends with its exit code, whatever would hold the interpreter back."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from fedenvoy.errors import Exit

__all__ = ["ending_for_sure", "keep_code"]

logger = logging.getLogger("fedenvoy")


@contextlib.contextmanager
def ending_for_sure() -> Iterator[None]:
    """Let the process end when the block raises SystemExit: at once, should a thread be left that would not end.

    Python waits for every thread that is not a daemon's, those of a ThreadPoolExecutor included. The agent's own are
    ended by then, but a site's GPU monitor runs in this process, too, and may have some.
    """
    atexit.register(_keep_code_to_the_last)
    try:
        yield
    except SystemExit as ending:
        code = _number(ending.code)
        keep_code(code)
        left = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
        if stuck := [thread.name for thread in left if not thread.daemon]:
            logger.warning("left behind, as nothing ends them: %s", ", ".join(stuck))
            _leave(code)
        raise


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _EndsWith:
    """A handler that ends the process at once."""

    def __init__(self, code: int) -> None:
        self._code = code

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        os._exit(self._code)


def keep_code(code: int) -> None:
    """Let signals change the exit code no more: from now on each ends the process with this one."""
    for number in _SIGNALS:
        signal.signal(number, _EndsWith(code))


def _keep_code_to_the_last() -> None:
    """Ignore signals while the interpreter is torn down: it takes its handlers away and leaves the default ones."""
    for number in _SIGNALS:
        if isinstance(signal.getsignal(number), _EndsWith):
            signal.signal(number, signal.SIG_IGN)


def _number(code: object) -> int:
    """Give the number that Python would end with."""
    if code is None:
        return Exit.OK
    return code if isinstance(code, int) else Exit.FAILED


def _leave(code: int) -> None:
    """End the process without the interpreter's own farewell."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
