"""Runs one program under a guard, confined or not, and returns only when nothing of it is left.

Knows the launch file (see `engines/child/launcher.py`) and the line to the guard (`engines/child/guard.py`); not what
the program is.
"""

from __future__ import annotations

import contextlib
import logging
import marshal
import os
import selectors
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from attrs import field, frozen

from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.engines.ending import Ending, Said, parse
from fedenvoy.engines.reading import read_regular
from fedenvoy.ports import Confinement
from fedenvoy.processes import MARK, PATIENCE, end_marked

__all__ = ["BOX", "LOGS", "ConfinementError", "Launch", "StartError", "create", "launch", "new_token"]

logger = logging.getLogger(__name__)

LAUNCHER = Path(__file__).parent / "child" / "launcher.py"
BOX = "child"
"""Of a run's directory, what a confined program may write besides what it is given: its `tmp`, its `home`, results."""
TAIL_BYTES = 16 * 2**10
TAIL_LINES = 40
LOGS = ("child.log", "child.earlier.log", "child.latest.log")
"""Where a program's output is, in this order (see `engines/child/guard.py`)."""
_ELSEWHERE = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMP", "TEMP")
"""Variables that name directories of the machine's, which a confined program does not have."""


class StartError(OSError):
    """The program could not be started."""


class ConfinementError(StartError):
    """The program was not started, for it could not be confined as asked."""


@frozen
class Launch:
    """What is to be run.

    Raises nothing; `launch` does.
    """

    argv: tuple[str, ...]
    """The program, by its path, and its arguments."""
    cwd: Path
    env: Mapping[str, str]
    """Its environment variables, all of them; confined, it gets others for its own directories."""
    confinement: Confinement = field(factory=Confinement)
    limits: Mapping[str, int] = field(factory=dict)
    """As in `ports.RunSpec`."""
    groups: tuple[str, ...] = ()
    """As in `ports.RunSpec`."""
    says_it_began: bool = False
    """Whether it writes a byte to file descriptor 3 when its own first code runs."""


def new_token() -> str:
    """Give the mark of a run, by which its processes are found again."""
    return uuid.uuid4().hex


def launch(
    what: Launch,
    run_dir: Path,
    *,
    grace: float,
    cancel: Cancel,
    timeout: float | None = None,
    meanwhile: Callable[[], object] = lambda: None,
    token: str = "",
) -> Ending:
    """Run a program from its start to its end, in this thread: it is killed should this thread end.

    Args:
        what: The program.
        run_dir: An existing directory of its own; gets the launch file, the LOGS, and confined BOX.
        grace: Seconds between asking it to end and killing it.
        cancel: Ends it.
        timeout: Seconds after which it is ended; None: none.
        meanwhile: Called once it runs: something short that this thread may do before it watches.
        token: The run's mark; empty: a new one.

    Raises:
        Cancelled: When `cancel` was cancelled; everything of the program is gone by then.
        ConfinementError: With the reason, where it cannot be confined; nothing of it has run.
        StartError: With the reason, when there was no process.

    """
    cancel.raise_if_cancelled()
    token = token or new_token()
    for name in LOGS[1:]:
        (run_dir / name).unlink(missing_ok=True)
    order = run_dir / "launch"
    with create(order) as file:
        file.write(marshal.dumps(_order(what, run_dir)))
    ours, theirs = socket.socketpair()
    with ours:
        with theirs, create(run_dir / LOGS[0]) as out:
            process = _start(order, theirs, out, {**what.env, MARK: token})
        try:
            meanwhile()
            words, timed_out = _Watch(ours, cancel, grace, timeout).wait()
        finally:
            ours.close()
            code = _collect(process, token)
    if cancel.cancelled:
        raise Cancelled
    said = parse(words)
    if said.fault:
        raise _refusal(said)
    return _ending(said, code, run_dir, timed_out=timed_out)


def _refusal(said: Said) -> StartError:
    kind, _, text = said.fault.partition(" ")
    if kind == "isolation":
        return ConfinementError(text)
    return StartError(f"the process could not be started: {text}")


def _ending(said: Said, code: int, run_dir: Path, *, timed_out: bool) -> Ending:
    return Ending(
        status=said.status or (f"signal {-code}" if code < 0 else f"exit {code}"),
        result=None,
        tail=_tail(run_dir),
        timed_out=timed_out,
        began=said.began,
        peak=said.peak,
        limit=said.limit,
        starved=said.starved,
    )


def _order(what: Launch, run_dir: Path) -> dict[str, Any]:
    """Give the content of the launch file, and make the directories that it speaks of."""
    order: dict[str, Any] = {
        "agent": os.getpid(),
        "log": str(run_dir / LOGS[0]),
        "argv": list(what.argv),
        "cwd": str(what.cwd),
        "env": {},
        "level": what.confinement.level,
        "limits": dict(what.limits),
        "groups": list(what.groups),
        "began": what.says_it_began,
    }
    return order if what.confinement.level == "process" else {**order, **_walls(what, run_dir)}


def _walls(what: Launch, run_dir: Path) -> dict[str, Any]:
    confinement = what.confinement
    box = run_dir / BOX
    for place in (box, box / "tmp", box / "home"):
        place.mkdir(mode=0o700, exist_ok=True)
    taken = {os.path.realpath(path) for path in (*confinement.read, *confinement.write)}
    instead: dict[str, str] = {}
    seen = {"tmp": "/tmp", "home": what.env.get("HOME", "")}  # noqa: S108 - the program's own
    for name, usual in seen.items():
        if usual.startswith("/") and Path(usual).is_dir() and os.path.realpath(usual) not in {"/", *taken}:
            instead[usual] = str(box / name)
        else:
            seen[name] = str(box / name)
    env = {"HOME": seen["home"], **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), seen["tmp"])}
    return {
        "read": list(map(str, confinement.read)),
        "write": [str(box), *map(str, confinement.write)],
        "hide": list(map(str, confinement.hide)),
        "own": [str(box), *map(str, confinement.own)],
        "instead": instead,
        "network": confinement.network,
        "gpu": confinement.gpu,
        "uid": confinement.uid,
        "gid": confinement.gid,
        "env": env,
        "drop": [name for name in _ELSEWHERE if name in what.env and name not in env],
    }


class _Watch:
    """The wait for the end of a program, with the two steps of ending it: ask, then kill."""

    def __init__(self, line: socket.socket, cancel: Cancel, grace: float, timeout: float | None) -> None:
        self._line = line
        self._cancel = cancel
        self._grace = grace
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._steps = iter((self._ask, self._kill))

    def wait(self) -> tuple[str, bool]:
        """Give the guard's words (empty when it had none left to say) and whether the time was up."""
        wake, woken = socket.socketpair()
        remove = self._cancel.on_cancel(lambda: _poke(woken))
        with wake, woken, selectors.DefaultSelector() as selector:
            selector.register(self._line, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            try:
                return self._loop(selector, wake)
            finally:
                remove()

    def _loop(self, selector: selectors.BaseSelector, wake: socket.socket) -> tuple[str, bool]:
        words, timed_out = b"", False
        while True:
            ready = [key.fileobj for key, _ in selector.select(self._remaining())]
            if self._line in ready:
                said = _receive(self._line)
                words += said
                if not said:
                    return words.decode("utf-8", "replace"), timed_out
            if wake in ready:
                selector.unregister(wake)
            elif self._remaining() == 0:
                timed_out = True
            else:
                continue
            step = next(self._steps, None)
            if step is None:
                return "", timed_out  # the guard itself is stuck
            step()

    def _remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _ask(self) -> None:
        with contextlib.suppress(OSError):
            self._line.sendall(b"T")
        self._deadline = time.monotonic() + self._grace

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)
        self._deadline = time.monotonic() + PATIENCE + 1


def _start(order: Path, line: socket.socket, out: IO[bytes], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(order)],
            stdin=line.fileno(),
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            close_fds=True,
            start_new_session=True,
        )
    except OSError as error:
        place = error.filename or sys.executable
        raise StartError(f"the process could not be started: {place}: {error.strerror or error}") from error


def _collect(process: subprocess.Popen[bytes], token: str) -> int:
    """End what is left of a child and give the exit code of its first process.

    Until that is collected, the id of the process, which is its session's too, cannot become another one's.
    """
    deadline = time.monotonic() + PATIENCE
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.002)
    end_marked(token, session=process.pid, keep=process.pid)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        logger.warning("the process %d does not end, although it was killed", process.pid)
        return -9


def _poke(woken: socket.socket) -> None:
    with contextlib.suppress(OSError):
        woken.send(b"x")


def _receive(line: socket.socket) -> bytes:
    try:
        return line.recv(4096)
    except ConnectionError:
        return b""


def create(path: Path) -> IO[bytes]:
    """Create a file for this user alone, in place of what was there; a link is not followed."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb", 0)


def _tail(run_dir: Path) -> str:
    found = b""
    for name in LOGS:
        found = (found + (read_regular(run_dir / name, TAIL_BYTES, tail=True) or b""))[-TAIL_BYTES:]
    return "\n".join(found.decode("utf-8", "replace").splitlines()[-TAIL_LINES:])
