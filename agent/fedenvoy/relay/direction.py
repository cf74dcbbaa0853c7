"""One direction of a connection: bytes from one side to the other, and the end of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedenvoy.relay.sides import Side

__all__ = ["Direction"]

_ROUNDS = 8
"""Pieces that one direction may pass before the other connections have their turn."""


class Direction:
    """What comes from one side and goes to the other: one piece at a time, so that who is slow is felt by who sends."""

    def __init__(self, source: Side, sink: Side) -> None:
        self.source = source
        self.sink = sink
        self.piece = memoryview(b"")
        self.ended = False
        self.finished = False
        self.first = b""

    def move(self) -> bool:
        """Pass on what can be passed on; tell whether anything moved."""
        moved = False
        for _ in range(_ROUNDS):
            if self.piece:
                taken = self.sink.send(self.piece)
                self.piece = self.piece[taken:]
                if not taken:
                    break
            elif self.ended:
                self.finished = self.finished or self.sink.finish()
                break
            else:
                piece = self.source.receive()
                if piece is None:
                    break
                self.piece, self.ended = piece, not piece
                self.first = self.first or bytes(piece[:2])
            moved = True
        return moved
