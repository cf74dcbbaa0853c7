"""The three PEM files, looked at for what a connection would complain of only when it is too late: dates and names.

`fedenvoy.certificates` has judged by then whether they can be used at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fedenvoy.certificates import SOON, loaded, validity
from fedenvoy.doctor.findings import Finding, fault, good, note, warning
from fedenvoy.errors import Exit

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from fedenvoy.config import TlsFiles

__all__ = ["look"]

_SUBJECT = "certificates"


def look(tls: TlsFiles, shard_name: str | None, now: datetime | None = None) -> Iterator[Finding]:
    """Say whose the certificates are, until when they are valid, and whether they fit each other.

    Args:
        tls: Files that were checked before.
        shard_name: The name the director knows this node by; the certificate's common name must be it. None: unknown.
        now: The moment that counts; None: this one.

    """
    moment = now or datetime.now(timezone.utc)
    own, root = loaded(tls.certificate), loaded(tls.root_certificate)
    if own is None or root is None:
        yield note(_SUBJECT, "their dates and names cannot be read; OpenSSL accepts them")
        return
    yield from _dates(own, f"this node's certificate {tls.certificate}", moment)
    yield from _dates(root, f"the root certificate {tls.root_certificate}", moment)
    if shard_name is not None:
        yield _name(own, shard_name)
    if own.issuer != root.subject:
        yield warning(
            _SUBJECT,
            f"this node's certificate was issued by {own.issuer.rfc4514_string()!r}, and the root certificate is "
            f"{root.subject.rfc4514_string()!r}'s: unless there is one between them, the director will not accept it",
        )


def _dates(certificate: Certificate, what: str, now: datetime) -> Iterator[Finding]:
    begin, end = validity(certificate)
    if now < begin:
        text = f"{what} is not valid before {begin:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M} here"
        yield fault(_SUBJECT, f"{text}; compare the clocks", Exit.LINK)
    elif now >= end:
        yield fault(_SUBJECT, f"{what} expired on {end:%Y-%m-%d %H:%M} UTC; have it renewed", Exit.LINK)
    elif end - now < SOON:
        yield warning(_SUBJECT, f"{what} expires on {end:%Y-%m-%d}, in {(end - now).days} days; have it renewed")
    else:
        yield good(_SUBJECT, f"{what} is valid until {end:%Y-%m-%d}")


def _name(certificate: Certificate, shard_name: str) -> Finding:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - as above

    names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if shard_name in names:
        return good(_SUBJECT, f"this node's certificate is made out for {shard_name!r}, the shard's name")
    shown = " and ".join(map(repr, names)) or "nobody"
    return fault(
        _SUBJECT,
        f"this node's certificate is made out for {shown}, and the shard is called {shard_name!r}: an aggregator "
        "takes a collaborator only by its certificate's common name; use that name with -n, or have one made for this",
        Exit.LINK,
    )
