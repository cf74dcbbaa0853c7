"""Chooses the level: what the site asks for, or else the strongest that works when it is tried."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable

from attrs import frozen

from fedenvoy.errors import ConfigurationError
from fedenvoy.ports import Confinement

__all__ = ["Isolation", "choose", "user_named"]

Attempt = Callable[[Confinement], str]
"""Runs a program that does nothing, confined so; gives why that failed, empty when it worked."""

_NO_USERS = (
    "user namespaces are turned off for this user: sysctl user.max_user_namespaces and, where they exist, "
    "kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0 allow them; a container "
    "needs a seccomp profile that does"
)
_COVERED = (
    "a part of /proc is covered here, as containers and systemd's ProtectKernelTunables do, so that no other can be "
    "mounted"
)
_NO_MOUNTS = (
    "mounting is forbidden here, as AppArmor and containers do: see the sysctl "
    "kernel.apparmor_restrict_unprivileged_userns, or the container's profile"
)
_ADVICE = (
    (r"^unshare: .*(No space left|not permitted|Invalid)|uid_map", _NO_USERS),
    (r"^mount proc ", _COVERED),
    (r"^mount ", _NO_MOUNTS),
    (r"^(open_tree|move_mount|mount_setattr): .*not (implemented|known)", "it needs Linux 5.12 or later"),
    (r"^pivot_root: ", "this machine's root file system cannot be exchanged (an initial RAM disk)"),
)


@frozen
class Isolation:
    """What experiments are run in."""

    level: str = "process"
    """`process`, `sandbox` or `user`."""
    uid: int | None = None
    """Of the level `user`: whose processes they are."""
    gid: int | None = None
    why: str = ""
    """Why it is not the stronger `sandbox`; empty where it is, or was not wanted."""

    def __str__(self) -> str:
        if self.level == "user":
            return f"user (as user {self.uid}, group {self.gid})"
        return f"{self.level} ({self.why})" if self.why else self.level


def choose(asked: str | None, run_as: str | None, attempt: Attempt) -> Isolation:
    """Choose the level.

    Args:
        asked: `agent.isolation`; None: the strongest that works.
        run_as: `agent.run_as`; None: nobody.
        attempt: Tries a level.

    Raises:
        ConfigurationError: What is asked for is not to be had here; says why, and what to do.

    """
    if asked == "process":
        _refuse_user(run_as, asked)
        return Isolation()
    if asked == "user" or (asked is None and run_as is not None):
        return _user(run_as, attempt)
    _refuse_user(run_as, str(asked))
    reason = attempt(Confinement(level="sandbox"))
    if not reason:
        return Isolation("sandbox")
    why = f"no sandbox: {explained(reason)}"
    if asked == "sandbox":
        raise ConfigurationError(
            f"agent.isolation is sandbox, and this machine has none: {explained(reason)}; or set agent.isolation: "
            "process"
        )
    return Isolation(why=why)


def _user(run_as: str | None, attempt: Attempt) -> Isolation:
    if run_as is None:
        raise ConfigurationError("agent.isolation is user, and agent.run_as does not say which: name a user of its own")
    uid, gid = user_named(run_as)
    if os.geteuid() != 0:
        raise ConfigurationError(
            f"agent.run_as is {run_as}, and only root can run experiments as another user: start the agent as root, or "
            "remove agent.run_as"
        )
    reason = attempt(Confinement(level="user", uid=uid, gid=gid))
    if reason:
        raise ConfigurationError(
            f"experiments cannot be run as {run_as} (agent.run_as): {explained(reason, user=True)}; or remove "
            "agent.run_as"
        )
    return Isolation("user", uid, gid)


def _refuse_user(run_as: str | None, asked: str) -> None:
    if run_as is not None:
        raise ConfigurationError(
            f"agent.run_as is {run_as}, which takes agent.isolation: user, and that is {asked}: remove one of them"
        )


def user_named(text: str) -> tuple[int, int]:
    """Give the ids of a user named `user`, `user:group`, or by numbers.

    Raises:
        ConfigurationError: There is none, or it is root.

    """
    match = re.fullmatch(r"([^:]+)(?::([^:]+))?", text)
    name, group = match.groups() if match else (text, None)
    try:
        known = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        uid, gid = known.pw_uid, known.pw_gid
    except KeyError:
        if not name.isdecimal():
            raise ConfigurationError(f"agent.run_as is {text!r}, and this machine knows no such user") from None
        uid = gid = int(name)
    if group is not None:
        gid = _group(text, group)
    if uid == 0 or gid == 0:
        raise ConfigurationError(f"agent.run_as is {text!r}, which is root: name a user that may nothing else")
    return uid, gid


def _group(text: str, group: str) -> int:
    import grp  # noqa: PLC0415 - few name one

    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigurationError(f"agent.run_as is {text!r}, and this machine knows no group {group!r}") from None


def explained(reason: str, *, user: bool = False) -> str:
    """Put what the kernel said into words that say what to do, with what it said behind them."""
    for pattern, words in _ADVICE:
        if re.search(pattern, reason) and not (user and words is _NO_USERS):
            return f"{words} ({reason})"
    return reason
