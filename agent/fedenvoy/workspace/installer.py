"""Runs uv: with an environment of variables that suits it, within a time, killable, its failures told apart."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from fedenvoy.cancel import Cancelled
from fedenvoy.errors import FedenvoyError
from fedenvoy.processes import MARK, end_marked

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel

__all__ = ["RequirementsError", "Uv", "retried", "uv_environment", "uv_path"]

TAIL_LINES = 40
TAIL_BYTES = 32 * 2**10
POLL = 0.1
"""Seconds between two looks at the clock and the cancel switch while uv runs."""

# uv reads its own names for what pip's users have set.
_FROM_PIP = {
    "PIP_INDEX_URL": ("UV_INDEX_URL", "UV_DEFAULT_INDEX"),
    "PIP_EXTRA_INDEX_URL": ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
}
# What says where to install, which arguments do here, or belongs to the agent's own interpreter or service manager.
_DROPPED = re.compile(
    r"VIRTUAL_ENV|CONDA_PREFIX|PYTHONHOME|PYTHONPATH|PYTHONSAFEPATH|UV_(?:PYTHON|PROJECT|SYSTEM_PYTHON|TARGET|PREFIX"
    r"|BREAK_SYSTEM_PACKAGES|WORKING_DIR\w*|PROJECT_ENVIRONMENT|VENV_\w+)|NOTIFY_SOCKET|WATCHDOG_\w+|LISTEN_\w+"
)
_KINDS = (
    ("disk", re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)),
    (
        "environment",
        re.compile(r"permission denied|read-only file system|input/output error|cannot allocate memory", re.IGNORECASE),
    ),
    ("resolution", re.compile(r"no solution found|unsatisfiable", re.IGNORECASE)),
    (
        "network",
        re.compile(
            r"error sending request|tcp connect error|dns error|timed? ?out|connection (?:reset|refused|closed)"
            r"|network is unreachable|are you offline|request failed after|error decoding response body"
            r"|unexpected (?:eof|end of file)|status server error|\b(?:429|50[0-9]) ",
            re.IGNORECASE,
        ),
    ),
)
_WORDS = {
    "disk": "the disk is full: the requirements could not be installed",
    "environment": "the requirements could not be installed on this machine",
    "resolution": "the requirements cannot be met together",
    "network": "the package index could not be reached",
    "other": "the requirements could not be installed",
}
# "error:" or a cross begins the reason; older releases draw its branches with box characters.
_REASON = re.compile(r"(?:^|\n)\s*(?:error:|\N{MULTIPLICATION SIGN})\s*(.+)", re.DOTALL)
_DRAWING = re.compile("[\u2500-\u257f\u25b6\N{MULTIPLICATION SIGN}]|hint:|cause:")


class RequirementsError(FedenvoyError):
    """An experiment's environment could not be built.

    Attributes:
        kind: `resolution` (the requirements contradict each other or exist nowhere), `refused` (they ask for what an
            experiment may not have) or `other` (a package cannot be built, most often): the experiment's own; and
            `network`, `timeout`, `disk` or `environment`: this node's.
        tail: The installer's last lines; empty where it was not run.

    """

    def __init__(self, message: str, kind: str = "environment", tail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.tail = tail


def uv_path() -> str:
    """Give the path of uv's program, from the package of that name."""
    try:
        import uv  # noqa: PLC0415 - only where something is installed

        return uv.find_uv_bin()
    except (FileNotFoundError, ImportError) as error:
        raise RequirementsError(f"uv is not installed beside this agent: {error}") from error


def uv_environment(base: Mapping[str, str], cache: Path) -> dict[str, str]:
    """Give uv's environment variables: the agent's, with pip's index settings in uv's names.

    Args:
        base: The agent's own.
        cache: Where uv keeps its cache when there is no home directory to keep it in.

    """
    env = {name: value for name, value in base.items() if not _DROPPED.fullmatch(name)}
    for theirs, ours in _FROM_PIP.items():
        if base.get(theirs) and not any(base.get(name) for name in ours):
            env[ours[0]] = base[theirs]
    env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # the best version of all indexes, as pip takes it
    env.update(UV_PYTHON_DOWNLOADS="never", UV_NO_PROGRESS="1", NO_COLOR="1")
    if not any(base.get(name) for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME", "HOME")):
        env["UV_CACHE_DIR"] = str(cache)
    return env


class Uv:
    """Runs uv's commands for one environment, one after the other, within one time for all.

    Args:
        env: uv's environment variables, with the mark of what it starts.
        cwd: Working directory; uv reads its own settings from there, so never an experiment's.
        log: File that gets what uv prints.
        timeout: Seconds from now for all commands together.
        cancel: Kills what runs.
        hold: A lock's descriptor that uv keeps open: should the agent be killed, the lock lasts as long as uv.

    """

    def __init__(
        self, env: Mapping[str, str], *, cwd: Path, log: Path, timeout: float, cancel: Cancel, hold: int
    ) -> None:
        self._program = uv_path()
        self._env = env
        self._cwd = cwd
        self._log = log
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._cancel = cancel
        self._hold = hold

    def __call__(self, *arguments: str) -> None:
        """Run one command.

        Raises:
            RequirementsError: It failed or took too long.
            Cancelled: It was killed because it is no longer wanted.

        """
        self._cancel.raise_if_cancelled()
        with _create(self._log) as out:
            code = self._run(arguments, out)
        if code < 0:
            end_marked(self._env[MARK])  # what it had started lives on, and holds the lock
            words = f"uv was killed by signal {-code} while it installed the requirements"
            raise RequirementsError(f"{words}{' (out of memory?)' * (code == -signal.SIGKILL)}", tail=_tail(self._log))
        if code:
            raise _failure(_tail(self._log))

    def _run(self, arguments: Sequence[str], out: IO[bytes]) -> int:
        process = subprocess.Popen(
            [self._program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=self._cwd,
            env=self._env,
            pass_fds=(self._hold,),
            start_new_session=True,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(POLL)
                self._cancel.raise_if_cancelled()
                if time.monotonic() > self._deadline:
                    words = f"the requirements took longer than {self._timeout:g} seconds to install"
                    raise RequirementsError(words, "timeout", _tail(self._log))
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def retried(
    attempt: Callable[[], None],
    *,
    tries: int,
    pause: float,
    cancel: Cancel,
    before: Callable[[RetryCallState], None],
) -> None:
    """Call `attempt` until it does not fail for the network's fault, at most `tries` times.

    Args:
        attempt: What to do.
        tries: At most this many times.
        pause: Seconds that the first pause is at most; later ones double, to 30 s.
        cancel: Ends the pause; `Cancelled` is raised.
        before: Told before each pause.

    """

    def sleep(seconds: float) -> None:
        if cancel.wait(seconds):
            raise Cancelled

    Retrying(
        stop=stop_after_attempt(tries),
        wait=wait_random_exponential(multiplier=pause, max=max(pause, 30)),
        retry=retry_if_exception(lambda error: isinstance(error, RequirementsError) and error.kind == "network"),
        sleep=sleep,
        before_sleep=before,
        reraise=True,
    )(attempt)


def _failure(tail: str) -> RequirementsError:
    kind = next((kind for kind, pattern in _KINDS if pattern.search(tail)), "other")
    match = _REASON.search(tail)
    reason = " ".join(_DRAWING.sub(" ", match.group(1) if match else tail).split())
    return RequirementsError(f"{_WORDS[kind]}: {reason[:500] or 'uv gave no reason'}", kind, tail)


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb", 0)


def _tail(path: Path) -> str:
    with path.open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES))
        text = log.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-TAIL_LINES:])
