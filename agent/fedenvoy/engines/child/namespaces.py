"""Confines this process: views of its own of users, processes, network, files, and no way to get more.

`enter` is called in a child of the guard. That child makes the namespaces and goes; its own child, the first process
of the process namespace, builds the rest, starts the program as its child, and stays to take in whatever the program
leaves behind. When it ends, the kernel ends all that is left in the namespace. The guard hears of its process id, of
the program's end and of what went wrong through a pipe.

Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal

from fedenvoy.engines.child import filters, landlock, mounts, places, privileges
from fedenvoy.engines.child.syscalls import checked, libc

TYPE_CHECKING = False  # `typing` takes as long to load as all the rest here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

__all__ = ["enter"]

_MOUNTS, _CGROUPS, _IPC, _USERS, _PROCESSES, _NETWORK = 1 << 17, 1 << 25, 1 << 27, 1 << 28, 1 << 29, 1 << 30
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
_IPV4, _DATAGRAMS = 2, 2


class _Interface(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 16), ("flags", ctypes.c_short), ("more", ctypes.c_char * 22))


def enter(spec: dict[str, Any], tell: Callable[[str], None], go: int, run: Callable[[], NoReturn]) -> NoReturn:
    """Run a program confined; never returns.

    Args:
        spec: `level`, `read`, `write`, `hide`, `instead`, `network`, `gpu`, and for the level `user` `uid` and `gid`.
        tell: Tells the guard: `pid N`, `status N`, `fault KIND TEXT`.
        go: A pipe from the guard: a byte says that this process has been taken in after its parent's end.
        run: Becomes the program; raises OSError where that cannot be.

    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    root = spec["level"] == "user"
    try:
        view, links = _layout(spec)
        if root:
            _give(spec)
        _separate(users=not root, network=not spec["network"])
        first = os.fork()
    except OSError as error:
        fail(tell, error)
    if first:
        tell(f"pid {first}")
        os._exit(0)
    try:
        os.setsid()
        if not spec["network"]:
            _raise_loopback()
        mounts.build(view, links, gpu=spec["gpu"])
        privileges.give_up(*((spec["uid"], spec["gid"]) if root else ()))
        privileges.keep_to_itself()
        if not os.read(go, 1):
            os._exit(1)
        privileges.tie(signal.SIGKILL)
        tell("up")  # raises where the guard has ended meanwhile
        child = os.fork()
        if not child:
            _wall_in(spec)
    except OSError as error:
        fail(tell, error)
    if not child:
        run()
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    _serve(child, tell)


def fail(tell: Callable[[str], None], error: OSError) -> NoReturn:
    """Tell why there is no confinement, and end."""
    tell(f"fault isolation {error.strerror or error}")
    os._exit(1)


def _layout(spec: dict[str, Any]) -> Any:
    network = places.NETWORK if spec["network"] else ()
    gpu = places.GPU if spec["gpu"] else ()
    read = (*places.SYSTEM, *network, *gpu, *spec["read"])
    return places.layout(read, spec["write"], spec["hide"], spec["instead"])


def _give(spec: dict[str, Any]) -> None:
    """Give the files of the run to the user that it runs as."""
    for top in spec["own"]:
        os.lchown(top, spec["uid"], spec["gid"])
        for place, directories, files in os.walk(top):
            for name in (*directories, *files):
                os.lchown(os.path.join(place, name), spec["uid"], spec["gid"])


def _separate(*, users: bool, network: bool) -> None:
    uid, gid = os.getuid(), os.getgid()
    wanted = _MOUNTS | _IPC | _PROCESSES | (_USERS if users else 0) | (_NETWORK if network else 0)
    checked("unshare", int(libc.unshare(ctypes.c_int(wanted))))
    with contextlib.suppress(OSError):  # it hides names only
        checked("unshare", int(libc.unshare(ctypes.c_int(_CGROUPS))))
    if users:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)


def _raise_loopback() -> None:
    any_socket = checked("socket", int(libc.socket(_IPV4, _DATAGRAMS, 0)))
    asked = _Interface(b"lo", 0)
    fcntl.ioctl(any_socket, _GET_FLAGS, asked)
    asked.flags |= _UP
    fcntl.ioctl(any_socket, _SET_FLAGS, asked)
    os.close(any_socket)


def _wall_in(spec: dict[str, Any]) -> None:
    """Build the walls that only the program is behind."""
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    landlock.restrict([*spec["write"], *spec["instead"], "/tmp", "/dev/shm"], mounts.DEVICES)  # noqa: S108 - its own
    filters.restrict()


def _serve(child: int, tell: Callable[[str], None]) -> NoReturn:
    """Be the first process: pass on what asks for an end, take in what is left behind, tell how the program ended."""
    while True:
        number = signal.sigwait({signal.SIGTERM, signal.SIGCHLD})
        if number == signal.SIGTERM:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == child:
                    tell(f"status {status}")
                    os._exit(0)
                if pid == 0:
                    break
