"""Check the three files of a mutual TLS connection before anything connects, so that a wrong file is named as such.

gRPC would tell most of these mistakes as "unavailable", long after the start. Nothing here makes a connection.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from fedenvoy.config import TlsFiles
from fedenvoy.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["SOON", "check", "expiry", "loaded", "validity"]

SOON = timedelta(days=30)
"""How long before its end a certificate is warned of."""

_LIMIT = 2**20
_CERTIFICATE = re.compile(r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")
_ENCRYPTED = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
_NAMES = {
    "root_certificate": "the federation's root certificate (-rc, --root-cert-path)",
    "private_key": "this node's private key (-pk, --private-key-path)",
    "certificate": "this node's signed certificate (-oc, --public-cert-path)",
}


def check(
    tls: bool,
    root_certificate: Path | None,
    private_key: Path | None,
    certificate: Path | None,
) -> tuple[TlsFiles | None, tuple[str, ...]]:
    """Check that the files can carry a mutual TLS connection.

    Args:
        tls: Whether the link is encrypted.
        root_certificate: PEM file of the authority that signed the director.
        private_key: PEM file of this node's key, without a passphrase.
        certificate: PEM file of this node's certificate.

    Returns:
        The files, or None where TLS is off; and warnings, when files are given but not used.

    Raises:
        ConfigurationError: With one problem for each file that is missing or wrong.

    """
    given = {"root_certificate": root_certificate, "private_key": private_key, "certificate": certificate}
    if not tls:
        extra = [name for name, path in given.items() if path is not None]
        verb = "is" if len(extra) == 1 else "are"
        return None, ((f"TLS is off, so {', '.join(extra)} {verb} not used",) if extra else ())
    problems = {name: problem for name, path in given.items() if (problem := _wrong(name, path))}
    if not problems and private_key and certificate:
        problems = _mismatch(private_key, certificate)
    if problems or root_certificate is None or private_key is None or certificate is None:
        raise ConfigurationError(*problems.values())
    return TlsFiles(root_certificate, private_key, certificate), ()


def _wrong(name: str, path: Path | None) -> str:
    """Say in one sentence what is wrong with a file by itself; empty when nothing is."""
    if path is None:
        return f"{name}: missing: TLS needs {_NAMES[name]}; or turn TLS off with --disable-tls"
    try:
        content = _read(path)
    except _UnusableError as error:
        return f"{name}: {path}: {error}"
    expected = "a private key" if name == "private_key" else "a certificate"
    fault = _not_pem(content, expected)
    if not fault and name == "private_key" and _ENCRYPTED.search(content.decode("ascii", "replace")):
        fault = "expected a key without a passphrase, because nobody is there to type it"
    if not fault and name != "private_key" and not _loads(path):
        fault = "holds a PEM certificate that is damaged"
    return f"{name}: {path}: {fault}" if fault else ""


class _UnusableError(Exception):
    """Why a file's content cannot be had."""


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise _UnusableError("expected a PEM file, but this is a directory")
        if not path.exists():
            raise _UnusableError("no such file")
        if not path.is_file():
            raise _UnusableError("expected a regular file")
        with path.open("rb") as stream:
            content = stream.read(_LIMIT)
    except PermissionError:
        raise _UnusableError(
            "may not be read by this user; check the owner and mode of it and its directories"
        ) from None
    except (OSError, ValueError) as error:
        raise _UnusableError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not content.strip():
        raise _UnusableError("the file is empty")
    return content


def _not_pem(content: bytes, expected: str) -> str:
    """Say what the content is instead of what was expected; empty when it is right."""
    text = content.decode("ascii", "replace")
    holds_certificate, holds_key = bool(_CERTIFICATE.search(text)), bool(_PRIVATE_KEY.search(text))
    if holds_key if expected == "a private key" else holds_certificate:
        return ""
    if holds_certificate:
        return f"expected {expected}, but this is a certificate"
    if holds_key:
        return f"expected {expected}, but this is a private key"
    if content[:1] == b"\x30":
        return f"expected {expected} in PEM form, but this looks like DER; convert it with `openssl ... -inform der`"
    return f"expected {expected} in PEM form (text that begins with -----BEGIN)"


def _loads(certificate: Path) -> bool:
    """Whether OpenSSL can read the certificates in a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=certificate)
    except (ssl.SSLError, OSError):
        return False
    return True


def _mismatch(private_key: Path, certificate: Path) -> dict[str, str]:
    """Try the pair as a connection would; both files are well-formed PEM by now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate, private_key, password=b"")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or ""
        if "MISMATCH" in reason:
            return {"private_key": f"private_key: {private_key}: does not belong to the certificate {certificate}"}
        if reason.startswith(("EE_KEY", "CA_")):
            return {"certificate": f"certificate: {certificate}: is too weak for this system's OpenSSL ({reason})"}
        return {"private_key": f"private_key: {private_key}: holds a PEM key that is damaged"}
    return {}


def loaded(path: Path) -> Certificate | None:
    """Give the first certificate of a PEM file; None where it cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - slow to import, and seldom wanted

    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def validity(certificate: Certificate) -> tuple[datetime, datetime]:
    """Give the moments between which a certificate is valid, in UTC."""
    begin, end = (_moment(certificate, name) for name in ("not_valid_before", "not_valid_after"))
    return begin, end


def expiry(path: Path) -> datetime | None:
    """Give the moment at which a file's certificate ends, in UTC; None where it cannot be read."""
    certificate = loaded(path)
    return None if certificate is None else validity(certificate)[1]


def _moment(certificate: Certificate, name: str) -> datetime:
    """Give one end of the validity; cryptography before 42 had it without a time zone only."""
    aware: datetime | None = getattr(certificate, f"{name}_utc", None)
    if aware is not None:
        return aware
    naive: datetime = getattr(certificate, name)
    return naive.replace(tzinfo=timezone.utc)


def _tell(arguments: list[str]) -> None:
    """Print the end of each certificate of `ROLE=FILE`, seconds since the epoch, as one JSON object."""
    files = {role: Path(path) for role, _, path in (argument.partition("=") for argument in arguments)}
    ends = {role: expiry(path) for role, path in files.items()}
    sys.stdout.write(json.dumps({role: end.timestamp() for role, end in ends.items() if end is not None}))


if __name__ == "__main__":
    _tell(sys.argv[1:])
