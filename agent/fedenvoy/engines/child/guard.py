"""Stands between the agent and a program: a small process that runs no code of the program and outlives it.

The agent starts one process; `enter` forks it in two. The first (the guard) keeps the line to the agent, takes in
whatever the program leaves behind (it is its "subreaper"), and ends all of it when the program is over, has passed a
limit, or the agent is gone. The second goes on to become the program, perhaps confined, and dies with the guard.

What the program prints passes the guard, which keeps the beginning and the end of it and drops what lies between: an
experiment that prints for weeks must not fill the disk.

The line is file descriptor 0, a socket. From the agent: a byte asks the program to end (SIGTERM), the end of the line
kills it. To the agent, once nothing of the program is left: how it ended ("exit 3", "signal 9"), followed by what else
is known, each after a semicolon; or why it was not run ("fault start No such file or directory: ...").

Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import sys
import time

from fedenvoy.engines.child.watching import Watching, tree

TYPE_CHECKING = False  # `typing` takes as long to load as all the rest here
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 5.0
"""Seconds to go on killing; what is left then, the agent looks for itself."""
OUTPUT = 5 * 2**20
"""Bytes of output that are kept, unless the limits say otherwise: a fifth from its beginning, in the log itself, and
twice two fifths from its end, in `LATEST` and, from before that, in `EARLIER`."""
LATEST, EARLIER = "child.latest.log", "child.earlier.log"
LONGEST_FAULT = 1000
_HIGH = 16
"""The guard's own descriptors begin here, so that a program may be given low ones."""


class Ties:
    """What leads from the program's side to the guard, as one side holds it.

    Attributes:
        told: Takes lines: `pid N` (take in this process instead), `status N`, `fault KIND TEXT`.
        go: Gives a byte once the process that was told of has been taken in.
        began: Takes a byte when the program's own first code runs.

    """

    __slots__ = ("began", "go", "told")

    def __init__(self, told: int, go: int, began: int) -> None:
        self.told = told
        self.go = go
        self.began = began

    def tell(self, line: str) -> None:
        """Tell the guard something; raises OSError where it has ended."""
        os.write(self.told, " ".join(line.split()).encode("utf-8", "replace")[:LONGEST_FAULT] + b"\n")


def enter(agent: int, log: str, limits: dict[str, int], groups: Sequence[str] = ()) -> Ties:
    """Become two processes; return in the program's only.

    Args:
        agent: Process id of the agent, which must be the parent: if it is not, it has ended meanwhile.
        log: The file that file descriptors 1 and 2 lead to.
        limits: What the program is held to (see `watching.py`), and the bytes of `output` kept.
        groups: The control groups that it lives in.

    """
    watching = Watching(limits, os.path.dirname(log), groups)
    line = _moved(os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    wake, woken = _pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != agent:
        os._exit(1)
    guard = os.getpid()
    (out, into), (told, tell), (going, go), (begun, began) = (_pipe() for _ in range(4))
    child = os.fork()
    if child:
        for theirs in (into, tell, going, began):
            os.close(theirs)
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        output = _Output(out, log, limits.get("output") or OUTPUT)
        _Guard(child, line, output, watching, Ties(told, go, begun)).watch(wake)
    for stream in (1, 2):
        os.dup2(into, stream)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    for descriptor in (line, wake, woken, out, into, told, go, begun):
        os.close(descriptor)
    os.setpgid(0, 0)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)
    return Ties(tell, going, began)


class _Guard:
    """The guard's own work.

    Args:
        child: The process on the program's side, in a group of its own.
        line: To the agent.
        output: What is printed.
        watching: Compares the program with its limits.
        ties: The guard's ends of what leads to the program's side.

    """

    def __init__(self, child: int, line: int, output: _Output, watching: Watching, ties: Ties) -> None:
        self._child = child
        self._line = line
        self._output = output
        self._watching = watching
        self._ties = ties
        self._text = b""
        self._codes: dict[int, int] = {}
        self._moved = False
        self._asked = False
        for source in (ties.told, ties.began):
            os.set_blocking(source, False)

    def watch(self, wake: int) -> NoReturn:
        """Wait for the end of the program or of the agent, end what is left, tell, and exit."""
        while self._status() is None:
            sources = [self._line, wake, *self._output.sources]
            ready = select.select(sources, [], [], self._watching.pause())[0]
            if self._watching.look():  # a limit is passed: no grace for that
                break
            if self._output.sources and self._output.sources[0] in ready:
                self._output.take()
            if wake in ready:
                received = os.read(wake, 64)
                if signal.SIGHUP in received:  # the agent's thread ended, and with it, as far as is known, the agent
                    break
                if signal.SIGTERM in received:
                    self._ask()
            if self._line in ready:
                if not _read(self._line):
                    break
                self._ask()
            self._reap()
        self._end_descendants()
        self._output.take()
        with contextlib.suppress(OSError):
            os.write(self._line, self._words().encode("utf-8", "replace"))
        os._exit(0)

    def _ask(self) -> None:
        """Ask the program to end."""
        self._asked = True
        _signal_group(self._child, signal.SIGTERM)

    def _reap(self) -> bool:
        """Take the exit codes of all that ended; tell whether any child is left."""
        left = True
        while left:
            try:
                pid, code, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                left = False
                break
            if pid == 0:
                break
            self._codes[pid] = code
            self._watching.saw(usage)
        if not self._moved and self._child in self._codes:
            self._moved = True
            self._move(self._said("pid"))
        return left

    def _move(self, other: str) -> None:
        """Go on to the process that the first one was there to make; empty: there is no other."""
        if other:
            self._child = int(other)
            with contextlib.suppress(OSError):
                os.write(self._ties.go, b"g")
            if self._asked:
                self._ask()

    def _said(self, word: str) -> str:
        """Give what the program's side told behind a word; empty when it did not."""
        with contextlib.suppress(OSError):
            self._text += os.read(self._ties.told, 2**16)
        lines = (line.partition(" ") for line in self._text.decode("utf-8", "replace").splitlines())
        return next((rest for first, _, rest in lines if first == word), "")

    def _status(self) -> int | None:
        """Give the program's exit code, as `os.waitpid` does; None while it runs."""
        code = self._codes.get(self._child)
        if code is None:
            return None
        told = self._said("status")
        return int(told) if told else code

    def _end_descendants(self) -> None:
        """Kill until nothing is left."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = tree(os.getpid())
            # Whole groups first: the kernel kills those at one stroke, so that nothing forks away meanwhile.
            for group in {task.group for task in found} - {0, os.getpgrp()}:
                _signal_group(group, signal.SIGKILL)
            for task in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(task.pid, signal.SIGKILL)
            # What was forked while the list was made is not on it, but it is a child as soon as its parent has ended.
            if not self._reap() or time.monotonic() > deadline:
                return
            time.sleep(0.005)

    def _words(self) -> str:
        fault = self._said("fault")
        if fault:
            return f"fault {fault}"
        status = self._status()
        if status is None:
            return self._watching.words("")
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        with contextlib.suppress(OSError):
            return self._watching.words(how) + (";began=1" if os.read(self._ties.began, 1) else "")
        return self._watching.words(how)


class _Output:
    """What the experiment prints, on its way from a pipe into files of bounded size."""

    def __init__(self, source: int, log: str, kept: int) -> None:
        os.set_blocking(source, False)
        self.sources = [source]
        """Where it comes from; empty once nobody can print any more."""
        self._place = os.path.dirname(log)
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
        latest = f"{self._place}/{LATEST}"
        if self._file == 1:
            self._put(f"\n[what was printed last is in {LATEST}]\n".encode("ascii"))
        elif self._file >= 0:
            os.close(self._file)
        self._room, self._file = self._last, -1
        with contextlib.suppress(OSError):
            os.replace(latest, f"{self._place}/{EARLIER}")
        with contextlib.suppress(OSError):  # the experiment may have put anything there, even what blocks for ever
            self._file = os.open(latest, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _read(line: int) -> bytes:
    try:
        return os.read(line, 64)
    except OSError:  # reset: the agent went with something of ours unread
        return b""


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    return _moved(reader), _moved(writer)


def _moved(descriptor: int) -> int:
    """Move a descriptor out of the way of low numbers; no program that is run inherits it."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(descriptor)
    return high


def _prctl(option: int, value: int) -> None:
    """Set a property of this process where the system has it; the line works without."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(option, int(value), 0, 0, 0)
    except (OSError, AttributeError):
        sys.stderr.write("the process cannot be tied to its parent: no prctl\n")
