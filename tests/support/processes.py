"""`fedenvoy start` as a process of its own, whose output is followed as it comes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from support.sources import source_path

CONFIGURATION = """
shard_descriptor:
  template: my_shard.NumbersShard
  params: {{rank: 2}}
agent:
  state_dir: {state}
  kill_grace: {grace}
  stop_timeout: {stop}
  drain_timeout: {drain}
  sandbox: {{write: [..]}}
"""


class Program:
    """One process; every wait has a deadline. Used by one test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._over = False
        self._reader = threading.Thread(target=self._read, name="program-output")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """Give what it has printed so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_line(self, text: str, timeout: float = 40.0) -> None:
        """Wait until a line that holds `text` was printed."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or any(text in line for line in self._lines), timeout)
            assert any(text in line for line in self._lines), f"{text!r} was not printed:\n{''.join(self._lines)}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, timeout: float = 40.0) -> int:
        """Wait for the end and give the exit code."""
        code = self.process.wait(timeout)
        self._reader.join(10)
        return code


def write_home(home: Path, state: Path, *, grace: float = 2.0, stop: float = 1.0, drain: float = 1.0) -> None:
    """Write a node's directory."""
    home.mkdir(exist_ok=True)
    (home / "my_shard.py").write_bytes((Path(__file__).parent / "shards.py").read_bytes())
    text = CONFIGURATION.format(state=state, grace=grace, stop=stop, drain=drain)
    (home / "envoy_config.yaml").write_text(text, encoding="utf-8")


@contextlib.contextmanager
def program(home: Path, *argv: str, environment: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Run a Python program in a directory; it is killed at the end of the block, should it still run."""
    process = subprocess.Popen(
        [sys.executable, *argv],
        cwd=home,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": source_path(), **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    running = Program(process)
    try:
        yield running
    finally:
        process.kill()
        running.end()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


@contextlib.contextmanager
def node_program(
    home: Path, port: int, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """Run `fedenvoy start` in a directory that `write_home` has written."""
    command = ("-m", "fedenvoy", "start", "-n", "node-1", "-dh", "127.0.0.1", "-dp", str(port), "--disable-tls")
    with program(home, *command, *options, environment=environment) as running:
        yield running
