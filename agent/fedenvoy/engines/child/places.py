"""What of this machine's files a confined process is to see, as a list of mounts: worked out from plain paths.

Knows the file system and how it is read, and nothing of mounting (`mounts.py`).

Standard library only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` takes as long to load as all the rest here
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["HIDE", "READ", "SYSTEM", "WRITE", "Place", "follow", "layout"]

READ, WRITE, HIDE = "read", "write", "hide"

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/protocols", "/etc/services", "/etc/localtime", "/etc/timezone", "/etc/locale.conf", "/etc/locale.alias"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ssl/cert.pem", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem"),
    *("/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust/extracted", "/etc/crypto-policies", "/etc/ca-certificates"),
    *("/etc/os-release", "/etc/debian_version", "/etc/mime.types", "/etc/magic", "/etc/fonts"),
    *("/etc/OpenCL", "/etc/vulkan", "/etc/nvidia", "/etc/ImageMagick-6"),
    *("/nix/store", "/gnu/store"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node"),
)
"""Programs, libraries, and the settings they all read. Not all of /etc: a child of root could read what is root's."""
NETWORK = ("/etc/resolv.conf",)
GPU = ("/sys", "/var/lib/nvidia")
_MOST_LINKS = 40


class Place:
    """One mount.

    Attributes:
        target: Where it is seen; absolute, without links.
        source: What is seen there.
        kind: `READ`, `WRITE`, or `HIDE`: nothing is seen there.

    """

    __slots__ = ("kind", "source", "target")

    def __init__(self, target: str, source: str, kind: str) -> None:
        self.target = target
        self.source = source
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"Place({self.target!r}, {self.source!r}, {self.kind!r})"


def layout(
    read: Sequence[str],
    write: Sequence[str],
    hide: Sequence[str],
    instead: dict[str, str],
) -> tuple[list[Place], dict[str, str]]:
    """Give the mounts in the order in which they are made, and the links that lead to them: what each points to.

    What is deeper comes later, so it stands: a directory that is written inside of one that is only read, and
    something read inside of one that is hidden. Of the same path, hiding wins over writing, and that over reading.

    Args:
        read: Files and directories; what does not exist is passed over.
        write: Likewise.
        hide: Likewise.
        instead: Directories that are seen, to be written, at another path than their own: source by target.

    """
    links: dict[str, str] = {}
    places: dict[str, Place] = {}
    for kind, paths in ((READ, read), (WRITE, write), (HIDE, hide)):
        for path in paths:
            found, real = follow(path)
            if real != "/" and os.path.lexists(real):
                places[real] = Place(real, real, kind)
                if kind != HIDE:
                    links.update(found)
    for target, source in instead.items():
        if places.get(target, Place("", "", "")).kind != READ:
            places[target] = Place(target, os.path.realpath(source), WRITE)
    ordered = sorted(places.values(), key=lambda place: place.target.count("/"))
    return list(_needed(ordered)), links


def _needed(ordered: list[Place]) -> Iterable[Place]:
    """Leave out what is seen already as part of something larger."""
    kept: dict[str, Place] = {}
    for place in ordered:
        around = kept.get(above(place.target, kept), Place("", "", HIDE))
        if place.kind != around.kind or around.source != around.target:
            kept[place.target] = place
            yield place


def above(path: str, paths: Iterable[str]) -> str:
    """Give the nearest of `paths` that holds a path, other than itself; empty where none does."""
    known = set(paths)
    while path != "/":
        path = os.path.dirname(path)
        if path in known:
            return path
    return ""


def follow(path: str) -> tuple[list[tuple[str, str]], str]:
    """Give every link on the way to a path, with what it points to, and the path without links."""
    links: list[tuple[str, str]] = []
    here, left = "/", path.split("/")
    while left and len(links) < _MOST_LINKS:
        part = left.pop(0)
        if part in {"", "."}:
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, part)
        try:
            target = os.readlink(step)
        except OSError:
            here = step
            continue
        links.append((step, target))
        left = target.split("/") + left
        here = "/" if target.startswith("/") else here
    return links, here
