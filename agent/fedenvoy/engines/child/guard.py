"""Stands between the agent and an experiment: a small process that runs no code of the experiment and outlives it.

The agent starts one process; `enter` forks it in two. The first (the guard) keeps the line to the agent, takes in
whatever the experiment leaves behind (it is its "subreaper"), and ends all of it when the experiment is over or the
agent is gone. The second goes on as the experiment and dies with the guard.

What the experiment prints passes the guard, which keeps the beginning and the end of it and drops what lies between: an
experiment that prints for weeks must not fill the disk.

The line is file descriptor 0, a socket. From the agent: a byte asks the experiment to end (SIGTERM), the end of the
line kills it. To the agent: how the experiment ended ("exit 3", "signal 9"), once nothing of it is left.

Standard library only; Python 3.8 and later.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, Sequence  # noqa: UP035 - Python 3.8

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 5.0
"""Seconds to go on killing; what is left then, the agent looks for itself."""
OUTPUT = 5 * 2**20
"""Bytes of output that are kept, unless the limits say otherwise: a fifth from its beginning, in the log itself, and
twice two fifths from its end, in `LATEST` and, from before that, in `EARLIER`."""
LATEST, EARLIER = "child.latest.log", "child.earlier.log"


def enter(agent: int, log: Path, limits: dict[str, int], groups: Sequence[str] = ()) -> None:
    """Become two processes; return in the experiment's only.

    Args:
        agent: Process id of the agent, which must be the parent: if it is not, it has ended meanwhile.
        log: The file that file descriptors 1 and 2 lead to.
        limits: What the experiment is held to (see `limits.py` and `watching.py`), and the bytes of `output` kept.
        groups: The control groups that it lives in.

    """
    watching = sibling("watching").Watching(limits, log.parent, groups)
    line = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != agent:
        os._exit(1)
    guard = os.getpid()
    out, into = os.pipe()
    child = os.fork()
    if child:
        os.close(into)
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        _watch(child, (line, wake), _Output(out, log, limits.get("output") or OUTPUT), watching)
    for stream in (1, 2):
        os.dup2(into, stream)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for descriptor in (line, wake, woken, out, into):
        os.close(descriptor)
    os.setpgid(0, 0)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)
    sibling("limits").apply(limits, groups)


def sibling(name: str) -> Any:
    """Load the script of this name that lies beside this one; its directory does not get onto the import path."""
    spec = importlib.util.spec_from_file_location(f"_fedenvoy_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def _watch(child: int, lines: tuple[int, int], output: _Output, watching: Any) -> None:
    """Wait for the end of the experiment or of the agent, end what is left, tell, and exit."""
    line, wake = lines
    status = None
    while status is None:
        ready = select.select([line, wake, *output.sources], [], [], watching.pause())[0]
        if watching.look():  # a limit is passed: no grace for that
            break
        if output.sources and output.sources[0] in ready:
            output.take()
        if wake in ready:
            received = os.read(wake, 64)
            if signal.SIGHUP in received:  # the agent's thread ended, and with it, as far as is known, the agent
                break
            if signal.SIGTERM in received:
                _signal_group(child, signal.SIGTERM)
        if line in ready:
            if not _read(line):
                break
            _signal_group(child, signal.SIGTERM)
        status = _reap(child, watching)
    ended = _end_descendants(child, watching)
    status = ended if status is None else status
    output.take()
    with contextlib.suppress(OSError):
        os.write(line, watching.words(_words(status)).encode("ascii"))
    os._exit(0)


class _Output:
    """What the experiment prints, on its way from a pipe into files of bounded size."""

    def __init__(self, source: int, log: Path, kept: int) -> None:
        os.set_blocking(source, False)
        self.sources = [source]
        """Where it comes from; empty once nobody can print any more."""
        self._log = log
        self._file = 1
        self._room, self._last = kept // 5 - os.fstat(1).st_size, 2 * kept // 5

    def take(self) -> None:
        """Take what is there, without waiting; a pipe holds less than this takes at once."""
        for _ in range(32):
            try:
                data = os.read(self.sources[0], 2**16) if self.sources else b""
            except BlockingIOError:
                return
            if not data:
                for source in self.sources:
                    os.close(source)
                self.sources = []
                return
            while data:
                if self._room <= 0:
                    self._turn()
                part, data = data[: self._room], data[self._room :]
                self._room -= len(part)
                self._put(part)

    def _put(self, part: bytes) -> None:
        with contextlib.suppress(OSError):  # the disk is full: the experiment need not end for that
            while part:
                part = part[os.write(self._file, part) :]

    def _turn(self) -> None:
        """Go on in a new file; the one before the last is gone."""
        latest = self._log.with_name(LATEST)
        if self._file == 1:
            self._put(f"\n[what was printed last is in {LATEST}]\n".encode("ascii"))
        elif self._file >= 0:
            os.close(self._file)
        self._room, self._file = self._last, -1
        with contextlib.suppress(OSError):
            latest.replace(latest.with_name(EARLIER))
        with contextlib.suppress(OSError):  # the experiment may have put anything there, even what blocks for ever
            self._file = os.open(latest, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _read(line: int) -> bytes:
    try:
        return os.read(line, 64)
    except OSError:  # reset: the agent went with something of ours unread
        return b""


def _signal_group(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, number)


def _reap(child: int, watching: Any) -> int | None:
    """Take the exit codes of all that ended; give the experiment's when it is among them."""
    status = None
    while True:
        try:
            pid, code, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        watching.saw(usage)
        if pid == child:
            status = code
        elif pid == 0:
            return status


def _end_descendants(child: int, watching: Any) -> int | None:
    """Kill until nothing is left; give the experiment's exit code when it ended only now."""
    tree = sibling("watching").tree
    status = None
    deadline = time.monotonic() + PATIENCE
    while True:
        found = tree(os.getpid())
        # Whole groups first: the kernel kills those at one stroke, so that nothing forks away meanwhile.
        for group in {task.group for task in found} - {0, os.getpgrp()}:
            _signal_group(group, signal.SIGKILL)
        for task in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(task.pid, signal.SIGKILL)
        code = _reap(child, watching)
        status = code if status is None else status
        if not found or time.monotonic() > deadline:
            return status
        time.sleep(0.005)


def _words(status: int | None) -> str:
    if status is None:
        return ""
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"


def _prctl(option: int, value: int) -> None:
    """Set a property of this process where the system has it; the line works without."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(option, int(value), 0, 0, 0)
    except (OSError, AttributeError):
        sys.stderr.write("the process cannot be tied to its parent: no prctl\n")
