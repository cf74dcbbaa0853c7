"""Runs uv: with an environment of variables that suits it, killable, confined where it runs a package's code.

A failure is told apart by what uv printed. Knows nothing of how a process is confined: that is handed in.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from fedenvoy.processes import MARK, end_marked
from fedenvoy.workspace.failures import RequirementsError, failure, tail_of

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel

__all__ = ["Confine", "Uv", "cache_of", "uv_environment", "uv_path"]

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
# All that a build gets of the agent's variables: how to find compilers, proxies and indexes, and no more.
_BUILDING = re.compile(
    r"PATH|LANG|LC_\w+|TZ|(?:https?|all|no|ftp)_proxy|(?:HTTPS?|ALL|NO|FTP)_PROXY|SSL_CERT_(?:FILE|DIR)|UV_\w+|PIP_\w+"
    r"|CC|CXX|CPP|LD|AR|FC|(?:C|CXX|CPP|LD|F)FLAGS|CPATH|LIBRARY_PATH|LD_LIBRARY_PATH|PKG_CONFIG_PATH|CMAKE_\w+"
    r"|MAX_JOBS|CUDA_HOME|CUDA_PATH|TORCH_CUDA_ARCH_LIST|SOURCE_DATE_EPOCH|MAKEFLAGS|FEDENVOY_RUN"
)


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


def cache_of(env: Mapping[str, str]) -> Path:
    """Give the directory that uv keeps its cache in."""
    if env.get("UV_CACHE_DIR"):
        return Path(env["UV_CACHE_DIR"])
    home = env.get("XDG_CACHE_HOME") or f"{env.get('HOME') or Path.home()}/.cache"
    return Path(home, "uv")


class Confine(Protocol):
    """Runs a program confined to the end, with the limits of an experiment's process; nothing of it is left then."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        read: tuple[Path, ...],
        write: tuple[Path, ...],
        network: bool,
        cancel: Cancel,
    ) -> int:
        """Run `argv`; give its exit code, or the number of the signal that ended it, negative.

        Args:
            argv: The program and its arguments.
            env: Its environment variables, all of them.
            cwd: Where it begins; it can be read there.
            log: An existing file that gets what it prints, behind what is in it.
            read: What it may read, besides the system's programs and libraries.
            write: What it may write.
            network: Whether it may use the network.
            cancel: Ends it, with all that it started; `Cancelled` is raised.

        """


class Uv:
    """Runs what makes one environment, one command after the other.

    Args:
        env: uv's environment variables, with the mark of what it starts.
        cwd: Working directory; uv reads its own settings from there, so never an experiment's.
        log: File that gets what the last command printed.
        cancel: Kills what runs.
        hold: A lock's descriptor that uv keeps open: should the agent be killed, the lock lasts as long as uv.
        confine: Runs what may run a package's code; None: it runs as uv itself does.

    """

    def __init__(
        self, env: Mapping[str, str], *, cwd: Path, log: Path, cancel: Cancel, hold: int, confine: Confine | None = None
    ) -> None:
        self.program = uv_path()
        self._env = env
        self._cwd = cwd
        self._log = log
        self._cancel = cancel
        self._hold = hold
        self._confine = confine

    def __call__(self, *arguments: str) -> None:
        """Run one of uv's commands, which must run no code of a package.

        Raises:
            RequirementsError: It failed.
            Cancelled: It was killed because it is no longer wanted.

        """
        self._judge(self._run([self.program, *arguments], self._env, self._cwd))

    def building(self, *arguments: str, read: tuple[Path, ...], write: Path, private: Path, network: bool) -> None:
        """Run one of uv's commands that may build packages, and with that run their code: it is confined.

        Args:
            arguments: The command.
            read: What it may read, besides the system's programs and libraries.
            write: What is being made.
            private: A directory for its cache, home and temporary files, which nothing else uses.
            network: Whether it may use the network.

        Raises:
            RequirementsError: It failed.
            Cancelled: It was killed because it is no longer wanted.

        """
        places = {"HOME": private / "home", "TMPDIR": private / "tmp", "UV_CACHE_DIR": private / "uv"}
        for place in (write, *places.values()):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        env = {name: value for name, value in self._env.items() if _BUILDING.fullmatch(name)}
        env.update({name: str(place) for name, place in places.items()})
        argv = [self.program, *arguments]
        self._judge(self.confined(argv, env, read=(Path(self.program), *read), write=(write, private), network=network))

    def confined(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        read: tuple[Path, ...] = (),
        write: tuple[Path, ...] = (),
        network: bool = False,
    ) -> int:
        """Run any program confined; give its exit code. Its processes are gone by then, whatever they did to stay."""
        cwd = write[0]
        env = {**env, MARK: self._env[MARK]}
        if self._confine is None:
            try:
                return self._run(argv, env, cwd)
            finally:
                end_marked(self._env[MARK])
        self._cancel.raise_if_cancelled()
        _create(self._log).close()
        return self._confine(
            argv, env=env, cwd=cwd, log=self._log, read=read, write=write, network=network, cancel=self._cancel
        )

    def tail(self) -> str:
        """Give the last lines that the last command printed."""
        return tail_of(self._log)

    def _judge(self, code: int) -> None:
        if code < 0:
            end_marked(self._env[MARK])  # what it had started lives on, and holds the lock
            words = f"uv was killed by signal {-code} while it installed the requirements"
            raise RequirementsError(f"{words}{' (out of memory?)' * (code == -signal.SIGKILL)}", tail=self.tail())
        if code:
            raise failure(self.tail())

    def _run(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> int:
        self._cancel.raise_if_cancelled()
        with _create(self._log) as out:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                pass_fds=(self._hold,),
                start_new_session=True,
            )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(POLL)
                self._cancel.raise_if_cancelled()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                end_marked(self._env[MARK], keep=process.pid)
                process.wait()


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb", 0)
