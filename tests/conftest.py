"""What every test is held to: it leaves no thread, no child process and no open file behind.

Ends are waited for, with one deadline for all three: gRPC closes its sockets a moment after its channel was closed.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from fedenvoy.config import TlsFiles
    from fedenvoy.link.director import DirectorLink
    from fedenvoy.testing import SandboxDirector, ThrowawayAuthority

SETTLE = 5.0
"""Seconds that a test's leftovers have to disappear by themselves."""

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=30)  # where another run is the thorough one
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_configure() -> None:
    """Hear of SIGINT: what a script runs in the background ignores it, and so would every program that is started."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Holdings(NamedTuple):
    """What the process holds at one moment, each under a key that tells two of a kind apart."""

    threads: dict[object, str]
    children: dict[object, str]
    files: dict[object, str]

    @classmethod
    def now(cls) -> Holdings:
        return cls(_threads(), _children(), _files())

    def beyond(self, before: Holdings) -> list[str]:
        """Give what is held now and was not held before, in words."""
        kinds = zip(self._fields, self, before, strict=True)
        return [f"{kind}: {word}" for kind, now, then in kinds for key, word in now.items() if then.get(key) != word]


def _threads() -> dict[object, str]:
    return {thread: thread.name for thread in threading.enumerate()}


def _children() -> dict[object, str]:
    """Give the direct children, those that ended and were not waited for included."""
    children: dict[object, str] = {}
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return children  # none at all; looking through the system's processes takes a hundred times as long
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            # The command stands in parentheses and may hold spaces; what follows are the state and the parent's id.
            head, _, rest = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:
            continue  # it ended meanwhile
        if int(rest.split()[1]) == os.getpid():
            children[entry.name] = head.partition("(")[2]
    return children


def _files() -> dict[object, str]:
    """Give the open descriptors; not those that gRPC and the C library keep for the life of the process."""
    files: dict[object, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # the directory's own descriptor
        if not target.startswith(("anon_inode:", "/dev/", "/proc/")):
            files[entry.name] = target
    return files


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail the test whose threads, children or descriptors outlive it."""
    before = Holdings.now()
    yield
    deadline = time.monotonic() + SETTLE
    while left := Holdings.now().beyond(before):
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + "; ".join(left), pytrace=False)
        gc.collect()
        time.sleep(0.01)


@pytest.fixture(autouse=True, scope="session")
def no_proxy_for_this_machine() -> Iterator[None]:
    """Keep a proxy of the surroundings away from the calls between tests and their own servers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_grpc_proxy", "localhost,127.0.0.1")
        yield


@pytest.fixture
def director() -> Iterator[SandboxDirector]:
    """A sandbox director that is up, on a plain link."""
    from fedenvoy.testing import SandboxDirector  # only the tests that ask for it load gRPC

    with SandboxDirector() as sandbox:
        yield sandbox


@pytest.fixture
def dial(director: SandboxDirector) -> Iterator[Callable[..., DirectorLink]]:
    """Make links of shard "one" to the director, or to what the arguments say; they are closed at the end."""
    from fedenvoy.config import FetchSettings, LinkSettings, PollSettings
    from fedenvoy.link.director import DirectorLink

    links: list[DirectorLink] = []

    def make(**changed: Any) -> DirectorLink:
        arguments: dict[str, Any] = {
            "shard_name": "one",
            "director": director.address,
            "tls": None,
            "settings": LinkSettings(call_timeout=5.0),
            "poll": PollSettings(),
            "fetch": FetchSettings(),
        }
        links.append(DirectorLink(**(arguments | changed)))
        return links[-1]

    yield make
    for link in links:
        link.close()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a command that ran in this process did to the loggers: later tests look at what is logged."""
    loggers = [logging.getLogger(name) for name in ("", "fedenvoy", "transitions")]
    before = [(logger.level, list(logger.handlers), logger.disabled) for logger in loggers]
    yield
    for logger, (level, handlers, disabled) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.disabled = disabled


@pytest.fixture(scope="module")
def authority() -> ThrowawayAuthority:
    """A federation's authority."""
    from fedenvoy.testing import ThrowawayAuthority  # as above

    return ThrowawayAuthority("the federation")


@pytest.fixture
def files(authority: ThrowawayAuthority, tmp_path: Path) -> TlsFiles:
    """The three files of a node whose certificate is made out for "one"."""
    return authority.issue("one").write(tmp_path, "one")
