# ruff: noqa: PTH100, PTH103, PTH112, PTH120, PTH211 - names as they are, links not followed
"""Runs a program as a user without any rights: `python nobody.py UID ARGV...`, as root.

Such a user must be able to reach the interpreter and these sources, which may lie in root's own directories. So they
are shown to it where they are, in a mount namespace that ends with the program; nothing outside is changed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from fedenvoy.engines.child import mounts
from fedenvoy.engines.child.places import follow
from fedenvoy.engines.child.syscalls import checked, libc, syscall
from fedenvoy.engines.interpreters import places_of

NEW_MOUNTS = 1 << 17
SOURCES = Path(__file__).resolve().parents[2]


def main() -> None:
    """Become the program."""
    uid, argv = int(sys.argv[1]), sys.argv[2:]
    checked("unshare", int(libc.unshare(ctypes.c_int(NEW_MOUNTS))))
    mounts.mount("none", "/", "", 0x4000 | 0x40000)
    open_up([*map(str, places_of(Path(sys.executable))), str(SOURCES), *(p for p in sys.path if os.path.isdir(p))])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execv(argv[0], argv)


def open_up(paths: list[str]) -> None:
    """Replace every directory that is closed to others, on the way to one of these, by one that leads there only."""
    links: dict[str, str] = {}
    wanted: dict[str, str] = {}
    for path in paths:
        found, real = follow(os.path.abspath(path))
        links.update(found)
        for place in (real, *(link for link, _ in found)):
            closed = next((str(up) for up in reversed(Path(place).parents) if not up.stat().st_mode & 1), None)
            if closed:
                wanted[place] = closed
    trees = {
        place: syscall("open_tree", -100, os.fsencode(place), 1 | 0o2000000 | 0x8000)
        for place in sorted(wanted)
        if place not in links
    }
    for closed in sorted(set(wanted.values())):
        mounts.mount("tmpfs", closed, "tmpfs", 0, "mode=755")
    for place, tree in trees.items():
        if not os.path.lexists(place):
            os.makedirs(place if os.path.isdir(f"/proc/self/fd/{tree}") else os.path.dirname(place), exist_ok=True)
            if not os.path.lexists(place):
                Path(place).touch()
            syscall("move_mount", tree, b"", -100, os.fsencode(place), 4)
        os.close(tree)
    for link, target in links.items():
        if link in wanted and not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(target, link)


if __name__ == "__main__":
    main()
