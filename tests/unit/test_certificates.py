"""The certificate files, checked before anything connects: every combination, and every way a file can be wrong."""

from __future__ import annotations

import itertools
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from fedenvoy.certificates import check
from fedenvoy.config import TlsFiles
from fedenvoy.errors import ConfigurationError

NAMES = ("root_certificate", "private_key", "certificate")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> TlsFiles:
    """Give a set that fits."""
    node = authority.issue_cert("site.example")
    paths = TlsFiles(tmp_path / "root_ca.crt", tmp_path / "site.key", tmp_path / "site.crt")
    authority.cert_pem.write_to_path(paths.root_certificate)
    node.private_key_pem.write_to_path(paths.private_key)
    node.cert_chain_pems[0].write_to_path(paths.certificate)
    return paths


def problems(root: Path | None, key: Path | None, certificate: Path | None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        check(True, root, key, certificate)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("given", list(itertools.product([True, False], repeat=3)))
def test_B55_every_combination(files: TlsFiles, tls: bool, given: tuple[bool, bool, bool]) -> None:
    paths = (files.root_certificate, files.private_key, files.certificate)
    chosen = [path if is_given else None for path, is_given in zip(paths, given, strict=True)]
    if not tls:
        used, warnings = check(False, *chosen)
        assert used is None
        extra = [name for name, is_given in zip(NAMES, given, strict=True) if is_given]
        assert len(warnings) == (1 if extra else 0)
        assert all(name in warnings[0] for name in extra)
    elif all(given):
        assert check(True, *chosen) == (files, ())
    else:
        missing = [name for name, is_given in zip(NAMES, given, strict=True) if not is_given]
        found = problems(*chosen)
        assert [problem.split(":")[0] for problem in found] == missing
        assert all("missing: TLS needs" in problem and "--disable-tls" in problem for problem in found)


def _gone(path: Path) -> None:
    path.unlink()


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _empty(path: Path) -> None:
    path.write_text(" \n")


def _der(path: Path) -> None:
    text = path.read_text()
    if "PRIVATE" in text:
        key = serialization.load_pem_private_key(text.encode(), None)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    else:
        path.write_bytes(ssl.PEM_cert_to_DER_cert(text))


def _text(path: Path) -> None:
    path.write_text("hello, world\n")


def _damaged(path: Path) -> None:
    head, *body, tail = path.read_text().strip().splitlines()
    path.write_text("\n".join([head, *reversed(body), tail]) + "\n")


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (_gone, "no such file"),
    (_directory, "this is a directory"),
    (_fifo, "expected a regular file"),
    (_empty, "the file is empty"),
    (_der, "looks like DER"),
    (_text, "in PEM form (text that begins with -----BEGIN)"),
    (_damaged, "is damaged"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("spoil", "sentence"), FAULTS)
def test_B55_one_wrong_file(files: TlsFiles, name: str, spoil: Callable[[Path], None], sentence: str) -> None:
    path: Path = getattr(files, name)
    spoil(path)
    found = problems(files.root_certificate, files.private_key, files.certificate)
    assert len(found) == 1
    assert found[0].startswith(f"{name}: {path}: ")
    assert sentence in found[0]


def test_B55_one_message_names_every_wrong_file(files: TlsFiles) -> None:
    _gone(files.root_certificate)
    _empty(files.private_key)
    found = problems(files.root_certificate, files.private_key, None)
    assert [problem.split(":")[0] for problem in found] == list(NAMES)


def test_key_of_another_certificate(files: TlsFiles, authority: trustme.CA) -> None:
    authority.issue_cert("other.example").private_key_pem.write_to_path(files.private_key)
    found = problems(files.root_certificate, files.private_key, files.certificate)
    assert found == (f"private_key: {files.private_key}: does not belong to the certificate {files.certificate}",)


def test_swapped_files_are_named_as_what_they_are(files: TlsFiles) -> None:
    found = problems(files.root_certificate, files.certificate, files.private_key)
    assert found == (
        f"private_key: {files.certificate}: expected a private key, but this is a certificate",
        f"certificate: {files.private_key}: expected a certificate, but this is a private key",
    )


@pytest.mark.parametrize("kind", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_key_with_a_passphrase_is_refused_without_asking(files: TlsFiles, kind: serialization.PrivateFormat) -> None:
    key = serialization.load_pem_private_key(files.private_key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    files.private_key.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, locked))
    found = problems(files.root_certificate, files.private_key, files.certificate)
    assert len(found) == 1
    assert "expected a key without a passphrase" in found[0]


def test_key_and_certificate_may_share_a_file(files: TlsFiles) -> None:
    files.certificate.write_text(files.certificate.read_text() + files.private_key.read_text())
    used, _ = check(True, files.root_certificate, files.certificate, files.certificate)
    assert used is not None


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to read everything, for a moment."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_file_that_may_not_be_read(files: TlsFiles) -> None:
    for path in (files.root_certificate, files.private_key, files.certificate):
        path.chmod(0)
    with as_nobody():
        found = problems(files.root_certificate, files.private_key, files.certificate)
    assert [problem.split(":")[0] for problem in found] == list(NAMES)
    assert all("may not be read by this user" in problem for problem in found)
