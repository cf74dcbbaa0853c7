"""From a connection to an encrypted one whose other end is who the plan names: as gRPC does it, with words."""

from __future__ import annotations

import select
import ssl
from typing import TYPE_CHECKING

from fedenvoy.hostnames import made_out_for, names_in
from fedenvoy.relay import words
from fedenvoy.relay.sides import PIECE, Tls
from fedenvoy.relay.waiting import Wait

if TYPE_CHECKING:
    import socket

    from fedenvoy.config import TlsFiles
    from fedenvoy.relay.waiting import Step

__all__ = ["context", "encrypted"]

_RECORDS = range(0x14, 0x18)
"""The first bytes of TLS records; the second byte is 3."""
_SILENT = "no answer to the TLS handshake"


def context(tls: TlsFiles, *, client_auth: bool) -> ssl.SSLContext:
    """Prepare what gRPC prepares, from the files as they are now.

    Raises:
        Trouble: They cannot be used.

    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False  # the names are wanted, for people; see `encrypted`
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whatever is in the file is trusted
    made.set_alpn_protocols(["h2"])
    try:
        made.load_verify_locations(tls.root_certificate)
        if client_auth:
            made.load_cert_chain(tls.certificate, tls.private_key, password=b"")
    except (OSError, ValueError) as error:
        raise words.own_files(error) from error
    return made


def encrypted(
    connection: socket.socket, begun: bytes, made: ssl.SSLContext, host: str, *, place: str, deadline: float
) -> Step[Tls]:
    """Shake hands and look at the certificate.

    Args:
        connection: Connected; still the caller's when this raises.
        begun: What was read from it already.
        made: From `context`.
        host: Who the certificate must be made out for.
        place: The host and the port, for people.
        deadline: Monotonic seconds.

    Raises:
        Trouble: What shows is not what the plan names.
        OSError: The connection came to nothing.

    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        session = made.wrap_bio(incoming, outgoing, server_hostname=host.rstrip("."))
    except ValueError as error:
        raise OSError(f"{host!r} is no name of a host") from error
    incoming.write(begun)
    seen = begun
    while not _is_agreed(session, place):
        yield from _sent(connection, outgoing, deadline)
        if not (yield Wait(connection.fileno(), select.EPOLLIN, deadline)):
            raise TimeoutError(_SILENT)
        said = connection.recv(PIECE)
        incoming.write(said) if said else incoming.write_eof()
        seen = (seen + said)[:2]
        if len(seen) > 1 and (seen[0] not in _RECORDS or seen[1] != 3):
            raise words.plain_text(place)
    yield from _sent(connection, outgoing, deadline)
    certificate = session.getpeercert()
    if not made_out_for(certificate, host):
        raise words.other_name(place, host, names_in(certificate))
    if session.selected_alpn_protocol() != "h2":
        raise words.Trouble(f"the aggregator at {place} does not speak gRPC: it does not choose HTTP/2; check the port")
    return Tls(connection, session, incoming, outgoing)


def _is_agreed(session: ssl.SSLObject, place: str) -> bool:
    """Go on with the handshake; tell whether it is over."""
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLCertVerificationError as error:
        raise words.not_accepted(place, error) from error
    except ssl.SSLEOFError as error:
        raise ConnectionError("it ends the TLS handshake") from error
    except ssl.SSLError as error:
        raise words.complaint(place, error) from error
    return True


def _sent(connection: socket.socket, outgoing: ssl.MemoryBIO, deadline: float) -> Step[None]:
    """Send what the handshake has to say."""
    leaving = memoryview(outgoing.read())
    while leaving:
        if not (yield Wait(connection.fileno(), select.EPOLLOUT, deadline)):
            raise TimeoutError(_SILENT)
        leaving = leaving[connection.send(leaving) :]
