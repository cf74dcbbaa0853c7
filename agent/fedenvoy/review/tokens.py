"""The people a node knows by a token of their own: a name, and the hash of what only that person has.

A token is 32 random bytes, so a plain hash of it is as good as a slow one: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from pathlib import Path

from fedenvoy.errors import FedenvoyError
from fedenvoy.review.files import private_directory, read_json, write_json

__all__ = ["PREFIX", "TokenError", "Tokens"]

PREFIX = "fedenvoy-"
"""What a token begins with, so that it is known for one where it is found lying about."""
MOST = 200


class TokenError(FedenvoyError):
    """A name or a token that cannot be used; the text says why."""


class Tokens:
    """The tokens of one node; thread-safe.

    Args:
        path: The file that holds the hashes, 0600.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Give who has a token."""
        with self._lock:
            return tuple(sorted(self._read()))

    def make(self, name: str) -> str:
        """Give a new token for a person, in place of the one that the person had; it is shown this once.

        Raises:
            TokenError: The name cannot be one.
            OSError: It cannot be written.

        """
        name = name.strip()
        if not name or len(name) > 100 or not name.isprintable():
            raise TokenError("a person's name has 1 to 100 characters that can be printed")
        token = PREFIX + secrets.token_urlsafe(32)
        with self._lock:
            hashes = self._read() | {name: _hash(token)}
            if len(hashes) > MOST:
                raise TokenError(f"{MOST} people have tokens already: take some away with `fedenvoy review token`")
            private_directory(self._path.parent)
            write_json(self._path, hashes)
        return token

    def revoke(self, name: str) -> None:
        """Take a person's token away.

        Raises:
            TokenError: The person has none.
            OSError: It cannot be written.

        """
        with self._lock:
            hashes = self._read()
            if hashes.pop(name.strip(), None) is None:
                raise TokenError(f"{name!r} has no token here")
            write_json(self._path, hashes)

    def check(self, name: str, token: str) -> None:
        """Make sure that a token is this person's.

        Raises:
            TokenError: It is not; the sentence is the same for a name that is not known.

        """
        with self._lock:
            expected = self._read().get(name.strip(), "")
        if not hmac.compare_digest(expected.encode(), _hash(token).encode()):
            raise TokenError(f"the token is not {name.strip()!r}'s")

    def _read(self) -> dict[str, str]:
        content = read_json(self._path)
        if content is None and not self._path.exists():
            return {}
        if not isinstance(content, dict):
            raise TokenError(f"{self._path} cannot be read: no token is accepted until it is removed or repaired")
        return {str(name): str(hash_) for name, hash_ in content.items()}


def _hash(token: str) -> str:
    return hashlib.sha256(token.strip().encode("utf-8", "surrogatepass")).hexdigest()
