"""Child processes of a demo: each in a session of its own, its output in a file and, line by line, in a queue.

Ends what it started, whatever happens in between. Knows nothing of nodes or directors.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

__all__ = ["Child", "Line", "Lines"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a child wrote.

    Attributes:
        source: The child's name.
        text: The line without its end.

    """

    source: str
    text: str


_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    # A federation on one machine needs no proxy, whatever the environment says for the rest of the world.
    "no_grpc_proxy": "localhost,127.0.0.1,::1",
}

Lines = SimpleQueue[Line]
"""Where the lines of several children meet, in the order in which they arrive."""


class Child:
    """One running process; use it as a context manager, so that it ends.

    Args:
        name: Names it in lines and messages.
        argv: Program and arguments.
        cwd: Its working directory.
        log: The file that gets everything it writes; appended to.
        lines: Where its lines go as well; None: nowhere else.
        environment: Variables on top of this process's own.
        grace: Seconds between asking it to end and ending it.

    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        lines: Lines | None = None,
        environment: Mapping[str, str] | None = None,
        grace: float = 15.0,
    ) -> None:
        self.name = name
        self.log = log
        self.grace = grace
        self._lines = lines
        # A session of its own: a Ctrl-C in the terminal reaches this program alone, which ends the rest in order.
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **_ENVIRONMENT, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name=f"lines of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output, self.log.open("a", encoding="utf-8") as log:
            for line in output:
                log.write(line)
                log.flush()
                if self._lines is not None:
                    self._lines.put(Line(self.name, line.rstrip("\n")))

    def wait(self, timeout: float) -> int | None:
        """Wait until it has ended and its last line was read; give its exit code, None when it still runs."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(timeout=5)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; harmless when it has ended."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end, end it after the grace, and give its exit code. Harmless when repeated."""
        try:
            if self.exit_code is None:
                self.signal(signal.SIGTERM)
                self.wait(self.grace)
        finally:
            # Also when waiting was cut short, by a second Ctrl-C.
            if self.exit_code is None:
                self.kill()
        code = self.wait(self.grace)
        return -signal.SIGKILL if code is None else code

    def kill(self) -> None:
        """End it and what shares its session, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(self.grace)

    def tail(self, count: int = 3) -> str:
        """Give the last lines of its log that hold anything, as one line for a message."""
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        return " / ".join([line.strip() for line in lines if line.strip()][-count:])

    def __enter__(self) -> Child:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
