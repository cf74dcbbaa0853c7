"""What a gRPC status means for the agent: one table over all status codes, with the exceptions each method needs.

gRPC tells a wrong certificate and a director that is down by the same code, so where the code does not say enough the
words do. The words differ between releases; each pattern here is one that the oldest or the newest supported grpcio
really says.
"""

from __future__ import annotations

import enum
import re

import grpc

from fedenvoy.calls import CallKind

__all__ = ["KINDS", "Rpc", "classify", "closed_while_connecting", "is_tls_fault", "tls_meaning"]


class Rpc(enum.Enum):
    """The director's methods, as people are told of them."""

    REGISTER = "the registration"
    POLL = "the wait for an experiment"
    DATA = "the download"
    HEALTH = "the health check"
    REPORT = "the failure report"
    SURVEY = "the question for its shapes"


KINDS: dict[grpc.StatusCode, CallKind] = {
    grpc.StatusCode.OK: CallKind.RETRYABLE,  # never seen: an error whose status is no error
    # Our own cancellations are known without the status; one that comes from the other side is an interruption.
    grpc.StatusCode.CANCELLED: CallKind.RETRYABLE,
    grpc.StatusCode.UNKNOWN: CallKind.RETRYABLE,  # an exception inside the director
    grpc.StatusCode.INVALID_ARGUMENT: CallKind.REJECTED,
    grpc.StatusCode.DEADLINE_EXCEEDED: CallKind.RETRYABLE,
    grpc.StatusCode.NOT_FOUND: CallKind.RETRYABLE,
    grpc.StatusCode.ALREADY_EXISTS: CallKind.RETRYABLE,
    grpc.StatusCode.PERMISSION_DENIED: CallKind.REJECTED,
    grpc.StatusCode.UNAUTHENTICATED: CallKind.REJECTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: CallKind.RETRYABLE,
    grpc.StatusCode.FAILED_PRECONDITION: CallKind.RETRYABLE,
    grpc.StatusCode.ABORTED: CallKind.RETRYABLE,
    grpc.StatusCode.UNIMPLEMENTED: CallKind.REJECTED,
    grpc.StatusCode.INTERNAL: CallKind.RETRYABLE,
    grpc.StatusCode.UNAVAILABLE: CallKind.RETRYABLE,
    grpc.StatusCode.DATA_LOSS: CallKind.RETRYABLE,
    grpc.StatusCode.OUT_OF_RANGE: CallKind.RETRYABLE,
}
"""What each status means where a method says nothing else."""

_EXCEPTIONS: dict[tuple[Rpc, grpc.StatusCode], CallKind] = {
    (Rpc.HEALTH, grpc.StatusCode.NOT_FOUND): CallKind.REREGISTER,
    (Rpc.POLL, grpc.StatusCode.DEADLINE_EXCEEDED): CallKind.EMPTY,
    (Rpc.DATA, grpc.StatusCode.NOT_FOUND): CallKind.WITHDRAWN,
    (Rpc.REPORT, grpc.StatusCode.NOT_FOUND): CallKind.WITHDRAWN,
}

_TLS_FAULTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"certificate[ _]has[ _]expired|certificate_expired", "its certificate has expired"),
        (r"not yet valid", "its certificate is not valid yet; compare the clocks"),
        (
            r"peer name .* is not in peer certificate|hostname verification|hostname mismatch",
            "its certificate is not made out for this name",
        ),
        (
            r"certificate[ _]verify[ _]failed",
            "its certificate is not signed by this node's root, or not valid now",
        ),
        (r"wrong_version_number", "it answers in plain text there; check the port, or turn TLS off with --disable-tls"),
        (
            r"security handshaker|key_values_mismatch|invalid private key|invalid cert chain",
            "this node's certificate files cannot be used together",
        ),
        (
            r"alert_(unknown_ca|bad_certificate|certificate_\w+)|certificate_required|handshake_failure",
            "it refuses this node's certificate",
        ),
        (r"ssl_error|ssl routines|tsi_|handshake failed|missing selected alpn", "the handshake failed"),
    )
)
"""Words of gRPC, each with what they mean, about the director as "it"; the first that fits counts."""

# A removed experiment: the director trips over its own register or over the file that is gone.
_GONE = re.compile(r"<class '(KeyError|FileNotFoundError)'>|\[Errno 2\]")

# The TCP connection was made and then closed before a word of HTTP/2 came: a director on its way down, or one that does
# not want TLS as this node does it. gRPC cannot tell which.
_CLOSED = re.compile(
    r"socket closed|connection reset|broken pipe|end of (tcp )?(stream|file)|handshake read failed", re.IGNORECASE
)
_CONNECTING = re.compile(r"failed to connect to all addresses|empty address list", re.IGNORECASE)


def classify(rpc: Rpc, code: grpc.StatusCode, details: str, *, tls: bool) -> CallKind:
    """Say what a failed call means.

    Args:
        rpc: Which method was called.
        code: The status it ended with.
        details: The words that came with the status.
        tls: Whether the link is meant to be encrypted.

    """
    if code is grpc.StatusCode.UNAVAILABLE and is_tls_fault(details, tls=tls):
        return CallKind.REJECTED
    if rpc is Rpc.DATA and code is grpc.StatusCode.UNKNOWN and _GONE.search(details):
        return CallKind.WITHDRAWN
    return _EXCEPTIONS.get((rpc, code), KINDS[code])


def is_tls_fault(details: str, *, tls: bool) -> bool:
    """Whether the words of an UNAVAILABLE tell that TLS itself failed."""
    if not tls:
        return False
    # The oldest supported gRPC says only this much about files that do not fit together.
    return tls_meaning(details) is not None or details.strip() == "empty address list:"


def tls_meaning(details: str) -> str | None:
    """Give what the words of a TLS fault mean, about the director as "it"; None when they tell of none."""
    return next((meaning for pattern, meaning in _TLS_FAULTS if pattern.search(details)), None)


def closed_while_connecting(details: str) -> bool:
    """Whether the words of an UNAVAILABLE leave open if the director is down or TLS was refused."""
    return _CONNECTING.search(details) is not None and _CLOSED.search(details) is not None
