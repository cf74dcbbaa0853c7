"""Throwaway certificates: an authority that lives as long as a test or a demonstration.

For nothing else: the keys are not protected, and the certificates are valid for a day.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedenvoy.config import TlsFiles

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["LOCAL_NAMES", "Pem", "ThrowawayAuthority"]

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""The names that a server on this machine is called by."""


@dataclass(frozen=True, slots=True)
class Pem:
    """The three parts of one side of a mutual TLS connection, as PEM text.

    Attributes:
        root_certificate: The authority that the other side is signed by.
        private_key: This side's key.
        certificate: This side's certificate.

    """

    root_certificate: bytes
    private_key: bytes
    certificate: bytes

    @classmethod
    def read(cls, files: TlsFiles) -> Pem:
        """Read the three from their files."""
        return cls(
            root_certificate=files.root_certificate.read_bytes(),
            private_key=files.private_key.read_bytes(),
            certificate=files.certificate.read_bytes(),
        )

    def write(self, directory: Path, name: str) -> TlsFiles:
        """Write the three into a directory as `NAME-root.pem`, `NAME-key.pem` and `NAME-cert.pem`."""
        files = TlsFiles(*(directory / f"{name}-{part}.pem" for part in ("root", "key", "cert")))
        files.root_certificate.write_bytes(self.root_certificate)
        files.private_key.touch(mode=0o600)
        files.private_key.write_bytes(self.private_key)
        files.certificate.write_bytes(self.certificate)
        return files


class ThrowawayAuthority:
    """A certificate authority in memory.

    Args:
        name: Its common name.

    """

    def __init__(self, name: str = "fedenvoy throwaway authority") -> None:
        self._key = _new_key()
        self._certificate = _sign(name, (), subject_key=self._key, issuer=None, issuer_key=self._key)

    def issue(self, common_name: str, names: Sequence[str] = LOCAL_NAMES, *, expired: bool = False) -> Pem:
        """Make a key and a certificate for one side of a connection.

        Args:
            common_name: Who it is; for a node, the shard name.
            names: Host names and addresses that it may be called by.
            expired: Whether the certificate's time is over.

        """
        key = _new_key()
        certificate = _sign(
            common_name, names, subject_key=key, issuer=self._certificate, issuer_key=self._key, expired=expired
        )
        return Pem(
            root_certificate=_certificate_pem(self._certificate),
            private_key=_key_pem(key),
            certificate=_certificate_pem(certificate),
        )


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - only tests and the demo pay for it

    return ec.generate_private_key(ec.SECP256R1())


def _sign(
    common_name: str,
    names: Sequence[str],
    *,
    subject_key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    expired: bool = False,
) -> x509.Certificate:
    """Sign a certificate; without an issuer it is the authority's own."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    now = dt.datetime.now(dt.timezone.utc)
    day = dt.timedelta(days=1)
    end = now - dt.timedelta(hours=1) if expired else now + day
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(subject_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(_usage(authority=issuer is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    """Say what a key is for: to sign certificates, or to sign handshakes. Newer Pythons insist."""
    from cryptography import x509  # noqa: PLC0415

    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
