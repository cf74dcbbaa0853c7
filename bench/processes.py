"""The programs under measurement: started with a clock, watched line by line, weighed with everything they started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

__all__ = ["Footprint", "Program", "Sighting", "run_seconds"]

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sighting:
    """A line that was waited for; `at` is on `time.monotonic`'s clock, `wall` on `time.time`'s."""

    text: str
    at: float
    wall: float


@dataclass(frozen=True)
class Footprint:
    """What a program and all its descendants weigh together.

    Attributes:
        rss: Resident memory, MB; pages that two processes share count twice.
        pss: Proportional memory, MB; pages shared with any other process count in part.
        threads: Of all processes.
        processes: How many there are.

    """

    rss: float
    pss: float
    threads: int
    processes: int


class Program:
    """One running program; use it as a context manager, so that it ends.

    Args:
        argv: Program and arguments.
        cwd: Its working directory, which also gets its log.
        environment: All of its environment variables.

    Attributes:
        cwd: As given.
        begun: When it was started, on `time.monotonic`'s clock.

    """

    def __init__(self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._lines: list[Sighting] = []
        self._more = threading.Condition()
        self._over = False
        self.cwd = cwd
        self.begun = time.monotonic()
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._log = cwd / "output.log"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output, self._log.open("w", encoding="utf-8") as log:
            for line in output:
                with self._more:
                    self._lines.append(Sighting(line, time.monotonic(), time.time()))
                    self._more.notify_all()
                log.write(line)
        with self._more:
            self._over = True
            self._more.notify_all()

    def count(self, text: str) -> int:
        """Give the number of lines so far that hold `text`."""
        with self._more:
            return sum(text in line.text for line in self._lines)

    def wait_line(self, text: str, timeout: float, *, number: int = 1) -> Sighting:
        """Wait for the `number`th line that holds `text`.

        Raises:
            RuntimeError: It did not come in time, or the program ended.

        """

        def found() -> list[Sighting]:
            return [line for line in self._lines if text in line.text]

        with self._more:
            self._more.wait_for(lambda: len(found()) >= number or self._over, timeout)
            if len(found()) >= number:
                return found()[number - 1]
            last = "".join(line.text for line in self._lines[-15:])
        raise RuntimeError(f"no line with {text!r} within {timeout:g} s; the last lines were:\n{last}")

    def cpu(self) -> float:
        """Give the processor seconds used so far, those of children that were collected included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * TICK

    def footprint(self) -> Footprint:
        """Weigh the program with everything that it started."""
        family = _family(self.pid)
        rss = pss = threads = 0
        for pid in family:
            rss += _value(Path(f"/proc/{pid}/status"), "VmRSS:")
            threads += _value(Path(f"/proc/{pid}/status"), "Threads:")
            pss += _value(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")
        return Footprint(rss / 1024, pss / 1024, threads, len(family))

    def terminate(self, timeout: float = 30.0) -> float:
        """Send SIGTERM; give the seconds until the process was gone.

        Raises:
            RuntimeError: It did not end in time.

        """
        poller = select.poll()
        descriptor = os.pidfd_open(self.pid)
        try:
            poller.register(descriptor, select.POLLIN)
            begun = time.monotonic()
            self._process.send_signal(signal.SIGTERM)
            if not poller.poll(timeout * 1000):
                raise RuntimeError(f"the process did not end within {timeout:g} s of SIGTERM")
            return time.monotonic() - begun
        finally:
            os.close(descriptor)

    def __enter__(self) -> Program:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
        self._reader.join(5)


def run_seconds(argv: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a program to its end; give the seconds it took."""
    begun = time.monotonic()
    subprocess.run(argv, env=dict(environment), check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return time.monotonic() - begun


def _family(root: int) -> list[int]:
    """Give a process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
        parents.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def _value(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise LookupError(f"{path} has no {key}")
