"""Tells somebody, once, that an experiment waits: by a command of the site's, and by an HTTP request.

It works in a thread of its own and within bounds, so that a mail server that hangs delays nothing. What is told is what
`fedenvoy review list` shows, and neither secrets nor a part of the archive. A URL may be a secret: it is never logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fedenvoy.cancel import Cancel
from fedenvoy.config import ReviewSettings
from fedenvoy.logs import bounded, escape

__all__ = ["Notices"]

logger = logging.getLogger(__name__)

DEADLINE = 30.0
"""Seconds that the command, or one HTTP request, may take."""
PAUSES = (0.0, 2.0, 10.0)
"""Seconds before each try of the HTTP request."""
_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")
"""What the command gets of the agent's environment, which may hold secrets."""


class Notices:
    """What tells it. Thread-safe.

    Args:
        settings: Whom to tell.

    """

    def __init__(self, settings: ReviewSettings) -> None:
        self._settings = settings
        self._deadline = DEADLINE
        self._pauses = PAUSES
        self._over = Cancel()
        self._threads: list[threading.Thread] = []

    def tell(self, facts: Mapping[str, Any], done: Callable[[str], None]) -> None:
        """Begin to tell; returns at once.

        Args:
            facts: What is told, as JSON can hold it.
            done: Called once, in another thread, with what came of it in words; not at all where nobody is to be told.

        """
        if not self._settings.notify and not self._settings.webhook:
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=self._work, args=(facts, done), name="fedenvoy-notice", daemon=True)
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """Give up what is under way, and wait for its end; an HTTP request may take until its deadline."""
        self._over.cancel()
        for thread in self._threads:
            thread.join(1.0)

    def _work(self, facts: Mapping[str, Any], done: Callable[[str], None]) -> None:
        said = []
        content = json.dumps(facts).encode("ascii")
        for wanted, way in ((self._settings.notify, self._run), (self._settings.webhook, self._post)):
            if wanted:
                try:
                    said.append(way(content))
                except Exception as error:  # noqa: BLE001 - whatever a site's command or a server does, it is only told
                    said.append(f"nobody could be told: {bounded(escape(str(error)), 200)}")
        words = "; ".join(said)
        logger.log(logging.WARNING if "could be told" in words else logging.INFO, "an experiment waits: %s", words)
        if not self._over.cancelled:
            done(words)

    def _run(self, content: bytes) -> str:
        program = self._settings.notify[0]
        with subprocess.Popen(
            self._settings.notify,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
            start_new_session=True,
        ) as process:
            stop = self._over.on_cancel(lambda: _kill(process))
            try:
                process.communicate(content, self._deadline)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise TimeoutError(f"{program} did not end within {self._deadline:g} s") from None
            finally:
                stop()
        if process.returncode:
            raise OSError(f"{program} ended with {process.returncode}")
        return f"{program} was told"

    def _post(self, content: bytes) -> str:
        url = self._settings.webhook or ""
        host = urlsplit(url).hostname
        request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
        opener = urllib.request.build_opener(_NoRedirect)
        for last, pause in zip((*(False,) * (len(self._pauses) - 1), True), self._pauses, strict=True):
            if self._over.wait(pause):
                raise OSError("the agent is ending")
            try:
                with contextlib.closing(opener.open(request, timeout=self._deadline)):
                    return f"{host} was told"
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"{host} answers {error.code}"
            except (OSError, ValueError) as error:
                reason = f"{host}: {getattr(error, 'reason', error)}"
            if last:
                raise OSError(reason)
        return ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: what is told goes where the site said, and nowhere else."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Give no further request."""


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
