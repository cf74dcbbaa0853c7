"""When this node's certificates end: asked of a child process, because the library that reads them stays in memory.

A node of a hospital runs for years, and its certificate does not.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fedenvoy.cancel import Cancel
from fedenvoy.certificates import SOON
from fedenvoy.config import TlsFiles

__all__ = ["DAY", "CertificateEnds"]

logger = logging.getLogger(__name__)

DAY = 24 * 3600.0
"""Seconds between two looks of the node's own."""
_PATIENCE = 30.0


class CertificateEnds:
    """The ends of the certificates, read anew when a file is replaced. Thread-safe.

    Args:
        tls: The files; None: there are none.
        clock: Monotonic seconds.

    """

    def __init__(self, tls: TlsFiles | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = {} if tls is None else {"certificate": tls.certificate, "root_certificate": tls.root_certificate}
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[object, Mapping[str, float]] = (None, {})
        self._next = clock()

    def ends(self) -> Mapping[str, float]:
        """Give the end of each certificate by its role, seconds since the epoch; what cannot be read is left out."""
        with self._lock:
            stamp = [_stamp(path) for path in self._paths.values()]
            if self._paths and self._known[0] != stamp:
                self._known = (stamp, _asked(self._paths))
            return self._known[1]

    def due(self) -> bool:
        """Whether a day has passed since this was true last; for one thread alone."""
        now = self._clock()
        if not self._paths or now < self._next:
            return False
        self._next = now + DAY
        return True

    def warn(self, _cancel: Cancel) -> None:
        """Say which certificates end soon; the work of a job."""
        now = time.time()
        for role, end in self.ends().items():
            left = end - now
            if left < SOON.total_seconds():
                day = time.strftime("%Y-%m-%d", time.gmtime(end))
                words = f"ends on {day}, in {left / DAY:.0f} days" if left > 0 else f"ended on {day}"
                logger.warning("the %s %s %s; have it renewed", role.replace("_", " "), self._paths[role], words)


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _asked(paths: Mapping[str, Path]) -> Mapping[str, float]:
    command = [sys.executable, "-m", "fedenvoy.certificates", *(f"{role}={path}" for role, path in paths.items())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True)
        found: Mapping[str, float] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        logger.debug("the ends of the certificates cannot be found out: %s", error)
        return {}
    return found
