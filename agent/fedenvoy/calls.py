"""How a call to the director can fail: one classification, shared by the link and by all who react to it.

A leaf: it names no gRPC class, so that an adapter can tell a passing outage from a rejection without knowing
the transport. The link alone decides which kind a status code is.
"""

from __future__ import annotations

import enum

__all__ = ["CallError", "CallKind"]


class CallKind(enum.Enum):
    """What a failed call means for what may be tried next."""

    RETRYABLE = "retryable"
    """A passing failure (unreachable, too late, an error inside the director): the call may work later."""
    REREGISTER = "reregister"
    """The director does not know this shard: it was restarted, and wants a registration first."""
    REJECTED = "rejected"
    """TLS, the credentials or the protocol were refused: repeating the call will not help."""
    EMPTY = "empty"
    """The call went well and brought nothing, for example a poll without an offer."""
    WITHDRAWN = "withdrawn"
    """The director no longer has the experiment that was asked for."""
    CANCELLED = "cancelled"
    """This side ended the call; nothing is known about the director."""


class CallError(Exception):
    """A call to the director that did not bring what it was made for.

    Attributes:
        kind: What it means.
        code: A short key for log and journal: a gRPC status name ("UNAVAILABLE") or "" where there is none.
        text: One sentence for people.

    """

    def __init__(self, *, kind: CallKind, code: str = "", text: str = "") -> None:
        super().__init__(kind, code, text)
        self.kind = kind
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.text) if part) or self.kind.value
