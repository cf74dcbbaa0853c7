"""How an address to listen at is read: a port of this machine alone, or an address and a port."""

from __future__ import annotations

import ipaddress

__all__ = ["listener"]

_LOOPBACK = "127.0.0.1"
_EXPECTED = "expected a port (9464), or an address and a port (127.0.0.1:9464, 0.0.0.0:9464, [::1]:9464)"


def listener(value: object) -> tuple[str, int]:
    """Read where to listen; give the address, without brackets, and the port.

    Raises:
        ValueError: It is neither; the text says what was expected.

    """
    if isinstance(value, int) and not isinstance(value, bool):
        return _LOOPBACK, _port(str(value))
    if not isinstance(value, str):
        raise ValueError(_EXPECTED)  # noqa: TRY004 - a rule's one error
    host, colon, port = value.strip().rpartition(":")
    if not colon:
        return _LOOPBACK, _port(port)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare == "localhost":
        return _LOOPBACK, _port(port)
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if address.version == 6 and bare == host:
        raise ValueError(f"{_EXPECTED}; an IPv6 address stands in brackets")
    return bare, _port(port)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(_EXPECTED)
    return int(text)
