"""Who is at the other end of a connection: the kernel's word, and never the client's own.

An experiment may run under this very user, in namespaces of its own. Such a process is told from the operator's by the
namespaces that it lives in, and is refused whatever it asks for.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedenvoy.errors import FedenvoyError

__all__ = ["Admission", "Peer", "PeerError"]

_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77
_GROUPS_BYTES = 1024
"""The most that Python reads of a socket's option: 256 groups."""
_NAMESPACES = {"user": "user", "pid": "process id"}
_PROC = Path("/proc")


class PeerError(FedenvoyError):
    """Whoever asks may not; the text is the answer."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end.

    Attributes:
        pid: Its process id; 0 where it cannot be seen from here.
        uid: Its effective user when it connected.
        owner: Whether that is this agent's own user, or root; else it is one who may review, and nothing more.

    """

    pid: int
    uid: int
    owner: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is let in besides the agent's own user and root.

    Attributes:
        group: Number of the group whose members may review; None: nobody else.
        banned: Users that are never let in: those that experiments run as.

    """

    group: int | None = None
    banned: frozenset[int] = frozenset()

    def admit(self, connection: socket.socket) -> Peer:
        """Give who is at the other end.

        Raises:
            PeerError: It may not ask.

        """
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(packed)
        own = os.geteuid()
        if uid in self.banned:
            raise PeerError("experiments run as this user: it may not control the agent")
        if uid == own:
            _refuse_other_namespaces(connection, pid)
        if uid in {own, 0}:
            return Peer(pid, uid, owner=True)
        if self.group is not None and self.group in {gid, *_groups(connection)}:
            return Peer(pid, uid, owner=False)
        raise PeerError("only the user that this agent runs as, and root, may control it")


def _groups(connection: socket.socket) -> tuple[int, ...]:
    """Give the further groups that the process had when it connected; none where the kernel cannot tell."""
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        return ()
    return tuple(number for (number,) in struct.iter_unpack("I", packed))


def _refuse_other_namespaces(connection: socket.socket, pid: int) -> None:
    """Refuse a process of this user that lives in other namespaces: what an experiment started.

    A process that cannot be seen from here at all (its id is 0) lives outside, and no experiment of this agent does.
    """
    if pid == 0:
        return
    with _held(connection, pid) as process:
        for name, word in _NAMESPACES.items():
            try:
                theirs = (_PROC / str(pid) / "ns" / name).readlink()
            except OSError as error:
                raise PeerError(
                    f"process {pid}, which asks, cannot be looked at ({error.strerror}): whether it belongs to an "
                    "experiment cannot be told"
                ) from None
            if theirs != (_PROC / "self" / "ns" / name).readlink():
                raise PeerError(
                    f"process {pid}, which asks, lives in another {word} namespace, as experiments do: it may not "
                    "control the agent"
                )
        if process is not None and select.select([process], [], [], 0)[0]:
            raise PeerError(f"process {pid}, which asked, has ended: what it was cannot be told")


@contextlib.contextmanager
def _held(connection: socket.socket, pid: int) -> Iterator[int | None]:
    """Give a descriptor that stands for the process, so that another that gets its number is not taken for it.

    The kernel gives the one that connected (Linux 6.5); an older one gives who has the number now. None: neither.
    """
    descriptor = None
    try:
        descriptor = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)
