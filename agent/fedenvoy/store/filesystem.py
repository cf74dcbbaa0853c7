"""Which file systems the journal may lie on: SQLite's WAL mode needs memory that all its users share.

Over a network that memory is not shared and locks are not sure. Writing seems to work there until the file is damaged,
so the kind of the mount is asked beforehand.
"""

from __future__ import annotations

import re
from pathlib import Path

from fedenvoy.errors import StoreError

__all__ = ["refuse_network", "type_of"]

MOUNTS = Path("/proc/self/mountinfo")
"""Where the kernel lists this process's mounts."""

_NETWORK = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fhgfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb3",
        "smbfs",
        "vboxsf",
        "wekafs",
        *(f"fuse.{name}" for name in ("ceph", "curlftpfs", "davfs2", "gcsfuse", "glusterfs", "juicefs", "moosefs")),
        *(f"fuse.{name}" for name in ("mount.davfs", "nfs", "rclone", "s3fs", "seaweedfs", "smbnetfs", "sshfs")),
        "fuse.vmhgfs-fuse",
    }
)
_ESCAPE = re.compile(r"\\([0-7]{3})")


def type_of(path: Path, mounts: str) -> str:
    """Give the type of the file system that holds a path; empty where the list does not tell.

    Args:
        path: Absolute, without links.
        mounts: The text of mountinfo (see proc(5)).

    """
    longest, found = -1, ""
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        fields = place.split(" ")
        if len(fields) < 5 or not kind:
            continue
        point = Path(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # What was mounted last on a place hides what was there before.
        if len(point.parts) >= longest and path.is_relative_to(point):
            longest, found = len(point.parts), kind.split(" ")[0]
    return found


def refuse_network(directory: Path) -> None:
    """Make sure that a directory, which need not exist yet, is not on a network file system.

    Raises:
        StoreError: It is; in one sentence.

    """
    try:
        kind = type_of(directory.resolve(), MOUNTS.read_text("utf-8", "surrogateescape"))
    except (OSError, RuntimeError):
        return  # no such list here, or links in a circle: whatever comes next says it better
    if kind in _NETWORK:
        raise StoreError(
            f"state directory {directory} is on a network file system ({kind}), where the journal would be damaged: "
            "give one on a local disk with agent.state_dir or --state-dir"
        )
