"""A name server for a test: it answers for the names it was told, and can be told others while it runs."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

_ADDRESS, _NO_ERROR, _NO_SUCH_NAME = 1, 0, 3


class NameServer:
    """Serves IPv4 addresses over UDP on this machine; use it as a context manager.

    Attributes:
        addresses: Address by name, in lower case and without a last dot; change it at will.
        asked: The names asked for so far.

    """

    def __init__(self, **addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="name-server")

    def host(self, name: str) -> str:
        """Give a name as gRPC takes one that is to be asked for here."""
        return f"dns://127.0.0.1:{self._socket.getsockname()[1]}/{name}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(4096)
            if not question:
                return
            self._socket.sendto(self._answer(question), sender)

    def _answer(self, question: bytes) -> bytes:
        labels, place = [], 12
        while question[place]:
            labels.append(question[place + 1 : place + 1 + question[place]].decode("ascii"))
            place += 1 + question[place]
        kind = int.from_bytes(question[place + 1 : place + 3], "big")
        name = ".".join(labels).lower()
        self.asked.append(name)
        address = self.addresses.get(name)
        answers = b""
        if address is not None and kind == _ADDRESS:
            packed = ipaddress.IPv4Address(address).packed
            answers = b"\xc0\x0c" + _ADDRESS.to_bytes(2, "big") + b"\x00\x01" + bytes(4) + b"\x00\x04" + packed
        code = _NO_SUCH_NAME if address is None else _NO_ERROR
        head = question[:2] + bytes([0x81, 0x80 | code]) + b"\x00\x01" + bytes([0, bool(answers)]) + bytes(4)
        return head + question[12 : place + 5] + answers
