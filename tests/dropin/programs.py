"""What a site's people run: a shell script or a Python program in the site's directory, watched through its output."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.sources import source_path


def start_command(port: int, *more: str, host: str = "127.0.0.1", name: str = "site_1") -> tuple[str, ...]:
    """Give the command that starts a node without encryption."""
    return ("fedenvoy", "start", "-n", name, "-dh", host, "-dp", str(port), "--disable-tls", *more)


class Program:
    """A running program; its output is read as it comes."""

    def __init__(
        self,
        command: Sequence[str | Path],
        cwd: Path,
        environment: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=dict(environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="output-reader")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """All it has printed so far, errors included."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, text: str, timeout: float = 40.0) -> str:
        """Wait until it has printed something; give all it has printed."""
        with self._changed:
            found = self._changed.wait_for(lambda: text in "".join(self._lines) or self._ended, timeout)
            printed = "".join(self._lines)
        assert found, f"{text!r} did not come: {printed}"
        assert text in printed, f"{text!r} never came: {printed}"
        return printed

    def end(self, timeout: float = 40.0) -> int:
        """Wait for its end; give the exit code."""
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def stop(self, number: signal.Signals = signal.SIGINT, timeout: float = 40.0) -> int:
        """Send a signal to it and whatever it started in its session, as a terminal does; give the exit code."""
        os.killpg(self._process.pid, number)
        return self.end(timeout)

    def close(self) -> None:
        """End it, however it stands."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)
        self._reader.join(20)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Place:
    """A site's directory, and the surroundings in which its programs run: `fedenvoy` on the path, a state directory.

    Args:
        home: The directory.
        scratch: Where the state and the command's own program lie; not inside `home`.
        python: The interpreter that fedenvoy runs in.

    """

    def __init__(self, home: Path, scratch: Path, python: Path = Path(sys.executable)) -> None:
        self.home = home
        self.python = python
        self.state = scratch / "state"
        commands = scratch / "bin"
        commands.mkdir(parents=True)
        home.mkdir(parents=True, exist_ok=True)
        command = commands / "fedenvoy"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -m fedenvoy "$@"\n')
        command.chmod(0o755)
        pipe = scratch.parent / "pipe"
        pipe.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if "DYNACONF" not in name}
        self.environment = {
            **kept,
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": source_path(),
            "STATE_DIRECTORY": str(self.state),
            # What an experiment writes for its test lies here (`experiments.Told`); its sandbox has nothing else there.
            "FEDENVOY_SANDBOX_WRITE": json.dumps([str(pipe)]),
        }

    def write(self, name: str, text: str) -> Path:
        """Write a file of the site."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @contextmanager
    def running(
        self,
        *command: str | Path,
        stdin: int = subprocess.DEVNULL,
        variables: Mapping[str, str] | None = None,
    ) -> Iterator[Program]:
        """Run a program in the directory, for the length of a block at most."""
        program = Program(command, self.home, {**self.environment, **(variables or {})}, stdin)
        try:
            yield program
        finally:
            program.close()

    def run(
        self, *command: str | Path, timeout: float = 40.0, variables: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a program to its end; give its exit code and all it printed."""
        with self.running(*command, variables=variables) as program:
            return program.end(timeout), program.output
