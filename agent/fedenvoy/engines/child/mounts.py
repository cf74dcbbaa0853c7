"""Builds the file system that a confined process sees: an empty root, and in it only what is named.

Runs in a mount namespace of its own, as the first process of a process namespace. It changes nothing outside: every
mount is made here, and the old root is let go at the end, after which no path leads back to it.

Standard library only. Needs Linux 5.12 for `mount_setattr`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from fedenvoy.engines.child.places import HIDE, WRITE, Place, above
from fedenvoy.engines.child.syscalls import checked, libc, syscall

__all__ = ["DEVICES", "build"]

DEVICES = ("/dev", "/proc/self/fd")
OLD = "/.old"
EMPTY = "/.empty"

_NO_SUID, _NO_DEVICES, _NO_PROGRAMS, _READ_ONLY = 2, 4, 8, 1
_RECURSIVE, _PRIVATE = 0x4000, 0x40000
_DETACH = 2
_HERE = -100
_EMPTY_PATH, _ALL_BELOW = 0x1000, 0x8000
_CLONE, _CLOSE = 1, 0o2000000
_MOVE_FROM = 4

_PLAIN_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_GPU_NODES = ("nvidia", "dri", "kfd", "dxg", "infiniband")
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx"))


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("users", ctypes.c_uint64),
    )


def build(places: list[Place], links: dict[str, str], *, gpu: bool) -> None:
    """Make the new root and go there; the working directory is its top.

    Args:
        places: What is to be seen, what is deeper later.
        links: What each link on the way there points to.
        gpu: Whether the GPUs' devices are to be seen.

    Raises:
        OSError: The kernel refuses; its message says what.

    """
    os.umask(0o022)
    mount("none", "/", "", _RECURSIVE | _PRIVATE)
    mount("tmpfs", "/proc", "tmpfs", _NO_SUID | _NO_DEVICES, "mode=755")
    os.mkdir(f"/proc{OLD}")
    os.chdir("/proc")
    syscall("pivot_root", b".", OLD[1:].encode())
    os.chdir("/")
    os.close(os.open(EMPTY, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    made = {place.target for place in places}
    emptied = []
    for place in places:
        if place.kind == HIDE:
            if hide(place.target, below=any(above(other, (place.target,)) for other in made)):
                emptied.append(place.target)
        else:
            make_point(place.target, OLD + place.source)
            bind(OLD + place.source, place.target, write=place.kind == WRITE)
    devices(gpu=gpu)
    os.makedirs("/proc", exist_ok=True)
    mount("proc", "/proc", "proc", _NO_SUID | _NO_DEVICES | _NO_PROGRAMS | _READ_ONLY)
    for link, target in links.items():
        with contextlib.suppress(FileExistsError, OSError):  # it is part of what is seen already
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(target, link)
    finish(emptied)


def finish(emptied: list[str]) -> None:
    """Let the old root go, and let nobody change what was made on the way."""
    checked("umount2", int(libc.umount2(OLD.encode(), _DETACH)))
    os.rmdir(OLD)
    for directory in ("/tmp", "/var/tmp"):  # noqa: S108 - the new root's
        if not os.path.lexists(directory):
            os.makedirs(os.path.dirname(directory), exist_ok=True)
            os.symlink("/tmp", directory) if directory != "/tmp" else os.mkdir(directory)  # noqa: S108
    for place in [*emptied, "/dev", "/"]:
        attributes(_HERE, os.fsencode(place), 0, _READ_ONLY)


def hide(target: str, *, below: bool) -> bool:
    """Put nothing where something is: a file that cannot be read, or an empty directory; tell whether it is the latter.

    Args:
        target: Where.
        below: Whether something is to be seen below it all the same.

    """
    found = OLD + target
    if not os.path.isdir(found):
        if os.path.lexists(target):
            bind(EMPTY, target, write=False)
        return False
    if not os.path.isdir(target) and not below:
        return False  # nothing around it is seen either
    os.makedirs(target, exist_ok=True)
    mount("tmpfs", target, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=755,size=1m")
    return True


def make_point(target: str, source: str) -> None:
    """Make the file or directory that a mount is put on, where there is none."""
    if os.path.lexists(target):
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def bind(source: str, target: str, *, write: bool, devices: bool = False) -> None:
    """Let something be seen at another path, with all that is mounted below it."""
    tree = syscall("open_tree", _HERE, os.fsencode(source), _CLONE | _CLOSE | _ALL_BELOW)
    try:
        wanted = _NO_SUID | (0 if devices else _NO_DEVICES) | (0 if write else _READ_ONLY)
        attributes(tree, b"", _EMPTY_PATH | _ALL_BELOW, wanted)
        syscall("move_mount", tree, b"", _HERE, os.fsencode(target), _MOVE_FROM)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (of {target})") from error
    finally:
        os.close(tree)


def attributes(place: int, path: bytes, how: int, wanted: int) -> None:
    """Add restrictions to a mount."""
    asked = _Attributes(wanted, 0, 0, 0)
    syscall("mount_setattr", place, path, how, ctypes.byref(asked), ctypes.sizeof(asked))


def devices(*, gpu: bool) -> None:
    """Make the few devices that every program may expect, and the GPUs'."""
    os.makedirs("/dev", exist_ok=True)
    mount("tmpfs", "/dev", "tmpfs", _NO_SUID, "mode=755,size=1m")
    found = [f"{OLD}/dev/{name}" for name in _PLAIN_NODES if os.path.exists(f"{OLD}/dev/{name}")]
    if gpu:
        found += [f"{OLD}/dev/{name}" for name in os.listdir(f"{OLD}/dev") if name.startswith(_GPU_NODES)]
    for source in found:
        target = source[len(OLD) :]
        make_point(target, source)
        bind(source, target, write=True, devices=True)
    for name, target in _LINKS:
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm")  # noqa: S108 - the new root's
    mount("tmpfs", "/dev/shm", "tmpfs", _NO_SUID | _NO_DEVICES, "mode=1777")  # noqa: S108
    os.mkdir("/dev/pts")
    with contextlib.suppress(OSError):  # few want one
        mount("devpts", "/dev/pts", "devpts", _NO_SUID | _NO_PROGRAMS, "newinstance,ptmxmode=0666,mode=620")


def mount(source: str, target: str, kind: str, how: int, options: str = "") -> None:
    """Mount something; raises OSError, which names the place."""
    words = [os.fsencode(word) or None for word in (source, target, kind)]
    answer = int(libc.mount(*words, ctypes.c_ulong(how), options.encode() or None))
    checked(f"mount {kind or 'private'} at {target}", answer)
