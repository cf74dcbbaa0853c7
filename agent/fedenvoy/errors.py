"""The errors a user can meet, and the exit codes they end in.

Every error is one sentence that names the thing, what was expected and what to do. The command line prints it and
exits with the code of its class; the Python class raises it, or ends in `SystemExit` with the same code.
"""

from __future__ import annotations

import enum
import errno

__all__ = [
    "DISK_FULL",
    "AbsentError",
    "AmbiguousError",
    "ConfigurationError",
    "Exit",
    "FedenvoyError",
    "LinkRejectedError",
    "NodeBusyError",
    "ShardError",
    "StoreError",
]


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says where a disk, or this user's share of it, is full."""


class Exit(enum.IntEnum):
    """The exit codes of every command; the README's table is this enum."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    SHARD = 4
    REFUSED = 5
    LINK = 6
    STORE = 7
    ABORTED = 8
    BUSY = 9
    ABSENT = 10
    REJECTED = 11
    HELD = 12

    @property
    def meaning(self) -> str:
        """Say in a few words what happened and what to do."""
        return _MEANINGS[self]


_MEANINGS = {
    Exit.OK: "ended as asked",
    Exit.FAILED: "an unexpected error; please report it with the log",
    Exit.USAGE: "the command line could not be understood; see --help",
    Exit.CONFIGURATION: "the configuration or a file it names is wrong; the message names each problem",
    Exit.SHARD: "the shard descriptor could not be constructed or described",
    Exit.REFUSED: "the director does not accept this shard; compare its shapes with the director's configuration",
    Exit.LINK: "the director rejected TLS, the credentials or the protocol; check certificates and address",
    Exit.STORE: "the state directory cannot be used; check its disk and permissions",
    Exit.ABORTED: "ended at once by a second signal; the next start takes up what was unfinished",
    Exit.BUSY: "another agent of this name runs here with the same state directory",
    Exit.ABSENT: "no such node runs here, or it has nothing in hand that the command could be for",
    Exit.REJECTED: "this experiment would be refused here; the message says why",
    Exit.HELD: "this experiment would wait here for a person",
}


class FedenvoyError(Exception):
    """Base of the errors that are told to a user in one sentence."""

    exit_code = Exit.FAILED


class ConfigurationError(FedenvoyError):
    """A setting, a file or a combination of them is wrong.

    Attributes:
        problems: Every problem found, one sentence each.

    """

    exit_code = Exit.CONFIGURATION

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ShardError(FedenvoyError):
    """The shard descriptor cannot be constructed, described or sent to an experiment's process."""

    exit_code = Exit.SHARD


class LinkRejectedError(FedenvoyError):
    """TLS, the credentials or the protocol were refused by the director."""

    exit_code = Exit.LINK


class StoreError(FedenvoyError):
    """The journal or the outbox cannot be written or read."""

    exit_code = Exit.STORE


class NodeBusyError(StoreError):
    """Another agent holds the state directory."""

    exit_code = Exit.BUSY


class AbsentError(FedenvoyError):
    """What a command is for is not there: no such node, none that runs, or nothing in its hand."""

    exit_code = Exit.ABSENT


class AmbiguousError(FedenvoyError):
    """Several nodes could be meant."""

    exit_code = Exit.USAGE
