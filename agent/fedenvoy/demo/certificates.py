"""Throwaway certificates for everyone in a demo. Knows nothing of who uses them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedenvoy.config import TlsFiles

__all__ = ["throwaway"]


def throwaway(directory: Path, *names: str) -> Mapping[str, TlsFiles]:
    """Make an authority, and a key and a certificate for every name; give the files by name.

    Args:
        directory: Where they are written.
        names: The common names; each may also be called localhost.

    """
    from fedenvoy.testing.certs import ThrowawayAuthority  # noqa: PLC0415 - loads a large library

    authority = ThrowawayAuthority("fedenvoy demo")
    return {name: authority.issue(name).write(directory, name) for name in names}
