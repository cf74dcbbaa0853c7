"""Starts one child, waits for it, ends it when asked, and returns only when nothing of it is left.

Knows the line to the child's guard (see `engines/child/guard.py`) and the files of a run; not what the child does.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import pickle
import selectors
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.engines.ending import Ending, parse
from fedenvoy.engines.reading import read_regular
from fedenvoy.processes import MARK, PATIENCE, end_marked

__all__ = ["BOOTSTRAP", "Ending", "StartError", "supervise"]

logger = logging.getLogger(__name__)

BOOTSTRAP = Path(__file__).parent / "child" / "bootstrap.py"
EXACT = ("shard", "plan")
"""What of a specification goes as a pickle: JSON would turn the numbers among a mapping's keys into texts."""
MAX_RESULT = 4 * 2**20
"""The largest result file that is read; user code could write anything there."""
TAIL_BYTES = 16 * 2**10
TAIL_LINES = 40
LATER_LOGS = ("child.earlier.log", "child.latest.log")
"""What follows child.log, in this order, when the child printed much (see `engines/child/guard.py`)."""


class StartError(OSError):
    """The child could not be started."""


def supervise(
    spec: Mapping[str, Any],
    run_dir: Path,
    python: Path,
    *,
    env: Mapping[str, str],
    grace: float,
    cancel: Cancel,
    timeout: float | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Ending:
    """Run a child from its start to its end, in this thread: the child is killed should this thread end.

    Args:
        spec: What the child is told; `agent`, `token`, `result` and `log` are added here.
        run_dir: An existing directory; gets spec.json, child.log (with LATER_LOGS behind it) and result.json.
        python: The interpreter to run it in.
        env: Its environment variables, all of them.
        grace: Seconds between asking it to end and killing it.
        cancel: Ends it.
        timeout: Seconds after which it is ended; None: none.
        meanwhile: Called once the child runs: something short that this thread may do before it watches.

    Raises:
        Cancelled: When `cancel` was cancelled; everything of the child is gone by then.
        StartError: With the reason, when there was no process.

    """
    cancel.raise_if_cancelled()
    token = uuid.uuid4().hex
    log, result = run_dir / "child.log", run_dir / "result.json"
    for left in (result, *(run_dir / name for name in LATER_LOGS)):
        left.unlink(missing_ok=True)
    paths = {"result": str(result), "log": str(log)}
    _write(run_dir / "spec.json", {**spec, "agent": os.getpid(), "token": token, **paths})
    ours, theirs = socket.socketpair()
    with ours:
        with theirs, _create(log) as out:
            process = _start((python, run_dir / "spec.json"), theirs, out, {**env, MARK: token}, str(spec["home"]))
        try:
            meanwhile()
            words, timed_out = _Watch(ours, cancel, grace, timeout).wait()
        finally:
            ours.close()
            code = _collect(process, token)
    if cancel.cancelled:
        raise Cancelled
    guard = parse(words)
    written = _read_result(result)
    return Ending(
        status=guard.status or (f"signal {-code}" if code < 0 else f"exit {code}"),
        result=written,
        tail=_tail(run_dir),
        timed_out=timed_out,
        began=bool(guard.status) or written is not None,
        peak=guard.peak,
        limit=guard.limit,
        starved=guard.starved,
    )


class _Watch:
    """The wait for the end of a child, with the two steps of ending it: ask, then kill."""

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
                    return words.decode("ascii", "replace"), timed_out
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


def _start(
    what: tuple[Path, Path], line: socket.socket, out: IO[bytes], env: Mapping[str, str], home: str
) -> subprocess.Popen[bytes]:
    python, spec = what
    try:
        return subprocess.Popen(
            [str(python), "-u", str(BOOTSTRAP), str(spec)],
            stdin=line.fileno(),
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=home,
            env=env,
            close_fds=True,
            start_new_session=True,
        )
    except OSError as error:
        place = error.filename or python
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
        return line.recv(64)
    except ConnectionError:
        return b""


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb", 0)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    exact = pickle.dumps({name: content[name] for name in EXACT if name in content}, protocol=4)
    plain = {name: value for name, value in content.items() if name not in EXACT}
    with _create(path) as out:
        out.write(json.dumps({**plain, "exact": base64.b64encode(exact).decode("ascii")}).encode("ascii"))


def _read_result(path: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads(read_regular(path, MAX_RESULT) or b"")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _tail(run_dir: Path) -> str:
    found = b""
    for name in ("child.log", *LATER_LOGS):
        found = (found + (read_regular(run_dir / name, TAIL_BYTES, tail=True) or b""))[-TAIL_BYTES:]
    return "\n".join(found.decode("utf-8", "replace").splitlines()[-TAIL_LINES:])
