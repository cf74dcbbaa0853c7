"""What is told about an aggregator, and which of it ends a run; the sentences are those of the child's own look."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

__all__ = [
    "Trouble",
    "complaint",
    "not_accepted",
    "other_name",
    "own_files",
    "plain_text",
    "reason",
    "shut",
    "wants_tls",
]

_ABOUT_THIS_NODE = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")
"""What is in the names of the alerts by which a peer refuses a certificate."""


class Trouble(Exception):  # noqa: N818 - most of it passes
    """A connection to the aggregator did not come about, or came to nothing.

    Args:
        words: For people: begins with "the aggregator at".
        lasting: Whether waiting does not help: somebody has to mend something.

    """

    def __init__(self, words: str, *, lasting: bool = False) -> None:
        super().__init__(words)
        self.lasting = lasting


def not_accepted(place: str, error: ssl.SSLCertVerificationError) -> Trouble:
    """The aggregator's certificate is not signed by the federation, or its time is over."""
    words = f"the aggregator at {place} shows a certificate that is not accepted here: {error.verify_message}"
    return Trouble(words, lasting=True)


def other_name(place: str, host: str, names: Sequence[str]) -> Trouble:
    """The aggregator's certificate is somebody else's."""
    words = (
        f"the aggregator at {place} shows a certificate made out for {', '.join(names) or 'nobody'}, and not "
        f"for {host}: the plan must name the aggregator as its certificate does"
    )
    return Trouble(words, lasting=True)


def plain_text(place: str) -> Trouble:
    """There is no TLS where the plan says so."""
    words = (
        f"the aggregator at {place} answers in plain text, and the plan says TLS: "
        f"check the port, or turn TLS off for the whole federation"
    )
    return Trouble(words, lasting=True)


def wants_tls(place: str) -> Trouble:
    """There is TLS where the plan says none."""
    words = f"the aggregator at {place} expects TLS, and the plan says none: check the port, or network.settings.tls"
    return Trouble(words, lasting=True)


def complaint(place: str, error: ssl.SSLError) -> Trouble:
    """The aggregator ended TLS with an alert, or what it sent is broken."""
    name = error.reason or ""
    if "ALERT" in name and any(word in name for word in _ABOUT_THIS_NODE):
        words = f"the aggregator at {place} does not accept this node's certificate: {reason(error)}"
        return Trouble(words, lasting=True)
    return Trouble(f"the aggregator at {place} cannot be talked to over TLS: {reason(error)}")


def shut(place: str) -> Trouble:
    """The aggregator took the connection and said nothing at all; it may just be going down, too."""
    return Trouble(
        f"the aggregator at {place} closes every connection without a word: it may not accept this node's certificate, "
        f"or not mean TLS as the plan does"
    )


def own_files(error: Exception) -> Trouble:
    """The files of this node are not what they were when it started."""
    return Trouble(f"this node's certificate files cannot be used: {reason(error)}", lasting=True)


def reason(error: Exception) -> str:
    """Give an error's words without its numbers."""
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said).replace("_", " ").lower() if isinstance(error, ssl.SSLError) else str(said)
