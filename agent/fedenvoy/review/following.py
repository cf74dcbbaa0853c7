"""Follows one pickle as its reader would, with names in place of objects: nothing is imported, called or built.

The result says what loading it would import and call. Whatever cannot be followed is said to be so, and never guessed.
"""

from __future__ import annotations

import io
import pickletools
from typing import IO, Any

from attrs import frozen

from fedenvoy.review.budget import Budget, Spent
from fedenvoy.review.opcodes import take
from fedenvoy.review.shadow import CodeFound, Inside, Machine

__all__ = ["Followed", "follow"]

PART_READ = 16 * 2**20
"""Bytes of one part of a pickle that are read; a larger one is passed over unread."""
_LARGE = 2**20


@frozen
class Followed:
    """What loading a pickle would do."""

    protocol: int = 0
    size: int = 0
    """Bytes up to where it ends or breaks off."""
    imports: tuple[str, ...] = ()
    """Everything that it imports, as `module.name`."""
    calls: tuple[tuple[str, int], ...] = ()
    """What it calls, and how often."""
    code: tuple[CodeFound, ...] = ()
    flags: tuple[str, ...] = ()
    """Words of `flagged.WORDS` for what it imports and calls while it is loaded."""
    code_flags: tuple[str, ...] = ()
    """Words for what the code that it carries names."""
    problem: str = ""
    """Why it could not be followed to its end; empty when it was."""
    limited: bool = False
    """Whether that is because it is more than is looked at, and not because it breaks off."""

    @property
    def acts(self) -> bool:
        """Whether loading it imports and calls something."""
        return bool(self.imports and self.calls)


def follow(raw: IO[bytes], size: int, budget: Budget, inside: Inside) -> Followed:
    """Follow the pickle that begins where `raw` stands; afterwards `raw` stands behind its end.

    Args:
        raw: A file that can seek.
        size: Its bytes, from its start on.
        budget: What this may cost; once it is used up, the result says so.
        inside: Takes each part that may hold another pickle.

    """
    source, machine = _Readable(raw, size, budget), Machine(inside)
    start = position = raw.tell()
    problem, limited = "", False
    try:
        budget.check()
        for opcode, argument, at in pickletools.genops(source):  # type: ignore[arg-type]  # it reads, tells and no more
            budget.step()
            position = start if at is None else at
            take(machine, opcode.name, argument, position)
    except Spent as spent:
        problem, limited = f"not followed beyond byte {position}: {spent}", position > start
    except Exception as error:  # noqa: BLE001 - the reader's errors are of many kinds, and all mean that it breaks off
        limited = source.passed_over > 0
        what = f"a part of {source.passed_over} bytes is not looked at" if limited else _reason(error)
        problem = f"breaks off after byte {position}: {what}"
    return _result(machine, raw.tell() - start, problem, limited=limited)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__


def _result(machine: Machine, size: int, problem: str, *, limited: bool) -> Followed:
    return Followed(
        protocol=machine.protocol,
        size=size,
        imports=tuple(sorted(machine.imports)),
        calls=tuple(sorted(machine.calls.items())),
        code=tuple(machine.code),
        flags=tuple(sorted(machine.flags)),
        code_flags=tuple(sorted(machine.code_flags)),
        problem=problem,
        limited=limited,
    )


class _Readable:
    """A file for the opcode reader: long parts are passed over, and lines have an end."""

    def __init__(self, raw: IO[bytes], size: int, budget: Budget) -> None:
        self._raw = raw
        self._size = size
        self._budget = budget
        self.passed_over = 0

    def tell(self) -> int:
        return self._raw.tell()

    def read(self, size: int) -> Any:
        self.passed_over = 0
        if size > _LARGE:
            self._budget.check()
        if size <= PART_READ:
            return self._raw.read(size)
        if size > self._size - self.tell():
            return b""
        self._raw.seek(size, io.SEEK_CUR)
        self.passed_over = size
        return _Unread(size)

    def readline(self) -> bytes:
        line = self._raw.readline(PART_READ)
        self.passed_over = len(line) if len(line) == PART_READ else 0
        return line


class _Unread:
    """Stands for a part that was passed over; has the length that the opcode's reader checks."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length
