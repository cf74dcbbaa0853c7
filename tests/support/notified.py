"""The other end of a notification socket: what a service manager would have heard, and what it would have done."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MARK = b"\0mark\0"
"""What no service sends: a datagram by which a listener knows that it has read all before it."""


@dataclass(frozen=True)
class Notification:
    """One datagram.

    Attributes:
        at: When it came (monotonic seconds).
        fields: Its values by name.

    """

    at: float
    fields: dict[str, str]


class Listener:
    """A bound datagram socket, read by a thread, for the length of a block.

    Args:
        directory: Where the socket lies; None: in the abstract namespace.

    """

    def __init__(self, directory: Path | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if directory is None:
            self.address = f"@fedenvoy-test-{uuid.uuid4().hex}"
            self._socket.bind("\0" + self.address[1:])
        else:
            self.address = str(directory / "notify")
            self._socket.bind(self.address)
        self._changed = threading.Condition()
        self._heard: list[Notification] = []
        self._marks: set[bytes] = set()
        self._thread = threading.Thread(target=self._listen, name="notify-listener")

    def _listen(self) -> None:
        while data := self._socket.recv(4096):
            if data.startswith(_MARK):
                with self._changed:
                    self._marks.add(data)
                    self._changed.notify_all()
                continue
            lines = data.decode("utf-8").split("\n")
            fields = dict(line.split("=", 1) for line in lines)
            assert len(fields) == len(lines), f"a name stands twice in {lines}"
            with self._changed:
                self._heard.append(Notification(time.monotonic(), fields))
                self._changed.notify_all()

    def environment(self, watchdog: float = 0.0) -> dict[str, str]:
        """Give the variables of a service; `WATCHDOG_PID` is left out, as the process is not known yet."""
        variables = {"NOTIFY_SOCKET": self.address}
        return variables | {"WATCHDOG_USEC": str(int(watchdog * 1e6))} if watchdog else variables

    def _send(self, data: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(data, "\0" + self.address[1:] if self.address.startswith("@") else self.address)

    @property
    def heard(self) -> list[Notification]:
        """Give all notifications that were sent so far, those that are still in the socket included."""
        mark = _MARK + uuid.uuid4().bytes
        self._send(mark)
        with self._changed:
            assert self._changed.wait_for(lambda: mark in self._marks, 40), "nobody reads the socket"
            return list(self._heard)

    def wait(self, predicate: Callable[[list[Notification]], object], timeout: float = 40.0) -> list[Notification]:
        """Wait until the notifications satisfy a predicate."""
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self._heard), timeout), f"heard only {self._heard}"
            return list(self._heard)

    def wait_fed(self, times: int) -> list[Notification]:
        """Wait until the watchdog was fed so many more times."""
        before = len(fed(self.heard))
        return self.wait(lambda heard: len(fed(heard)) >= before + times)

    def wait_state(self, state: str) -> list[Notification]:
        """Wait until a state was told."""
        return self.wait(lambda heard: state in states(heard))

    @classmethod
    @contextlib.contextmanager
    def listening(cls, directory: Path | None) -> Iterator[Listener]:
        """Listen for the length of a block."""
        listener = cls(directory)
        listener._thread.start()
        try:
            yield listener
        finally:
            # An empty datagram ends the thread; shutting an unconnected socket down would not.
            listener._send(b"")
            listener._thread.join(10)
            listener._socket.close()


def fed(heard: Sequence[Notification]) -> list[Notification]:
    """Give those that feed the watchdog."""
    return [n for n in heard if n.fields.get("WATCHDOG") == "1"]


def statuses(heard: Sequence[Notification]) -> list[str]:
    """Give the status lines in order."""
    return [n.fields["STATUS"] for n in heard if "STATUS" in n.fields]


def states(heard: Sequence[Notification]) -> list[str]:
    """Give the states that the status lines name, in order."""
    return [line.split(":")[0].split(" ")[0] for line in statuses(heard)]


def first(heard: Sequence[Notification], name: str) -> Notification:
    """Give the first that has a field."""
    return next(n for n in heard if name in n.fields)


def watchdog_deadline(heard: Sequence[Notification], watchdog: float) -> float:
    """Give when systemd's watchdog would end the process; infinitely far once it stops.

    Raises:
        AssertionError: It would have ended it before the last notification.

    """
    deadline = float("inf")
    for n in heard:
        assert n.at < deadline, "the watchdog would have ended it"
        if "STOPPING" in n.fields:
            return float("inf")
        if "WATCHDOG_USEC" in n.fields:
            watchdog = int(n.fields["WATCHDOG_USEC"]) / 1e6
        if n.fields.keys() & {"READY", "WATCHDOG", "WATCHDOG_USEC"}:
            deadline = n.at + watchdog
    return deadline


def stop_deadline(heard: Sequence[Notification], patience: float) -> float:
    """Give when systemd would kill the process that said it stops, `patience` being its `TimeoutStopSec`.

    Raises:
        AssertionError: It would have killed it before the last notification.

    """
    begun = first(heard, "STOPPING")
    deadline = begun.at + patience
    for n in heard[list(heard).index(begun) :]:
        assert n.at <= deadline, "it would have been killed"
        if "EXTEND_TIMEOUT_USEC" in n.fields:
            deadline = max(deadline, n.at + int(n.fields["EXTEND_TIMEOUT_USEC"]) / 1e6)
    return deadline
