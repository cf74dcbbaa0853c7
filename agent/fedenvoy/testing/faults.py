"""The faults that a sandbox director can be told to have, each for a number of calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message

__all__ = [
    "METHODS",
    "Answer",
    "BreakChunks",
    "CutStream",
    "DropReply",
    "Fail",
    "Fault",
    "FaultControls",
    "Faults",
    "Held",
    "Stream",
    "known",
]

METHODS = ("UpdateShardInfo", "WaitExperiment", "GetExperimentData", "UpdateEnvoyStatus", "SetExperimentFailed")
"""The methods a node calls."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer with a status instead of doing anything."""

    code: grpc.StatusCode
    details: str = ""


@dataclass(frozen=True, slots=True)
class DropReply:
    """Do what is asked, and then break the call as a lost connection does."""


@dataclass(frozen=True, slots=True)
class CutStream:
    """End a stream with a status after some chunks."""

    after: int
    code: grpc.StatusCode
    details: str = ""


@dataclass(frozen=True, slots=True)
class BreakChunks:
    """State a wrong size in every chunk after some."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this and nothing else, whatever the method's own reply is; bytes go out as they are."""

    reply: Message | bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """Send these messages in place of an archive, each after a pause of so many seconds; bytes go out as they are."""

    messages: Callable[[], Iterable[Message | bytes]]
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """Calls that are not answered until `release`; of a stream, what follows after some chunks."""

    after: int = 0
    _released: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def released(self) -> bool:
        """Whether the calls go on."""
        return self._released.is_set()

    def release(self) -> None:
        """Let the calls go on."""
        self._released.set()
        with self._changed:
            self._changed.notify_all()


Fault = Answer | Fail | DropReply | CutStream | BreakChunks | Held | Stream


class Faults:
    """The faults to come, by method; of each method the oldest applies first. Thread-safe.

    Args:
        changed: Guards everything; notified when held calls are released.

    """

    def __init__(self, changed: threading.Condition) -> None:
        self.changed = changed
        self._queues: dict[str, list[tuple[Fault, int | None]]] = {}

    def add(self, method: str, fault: Fault, times: int | None) -> None:
        """Let a fault apply to the next `times` calls of a method; None: to all of them, until cleared.

        Raises:
            ValueError: There is no such method.

        """
        with self.changed:
            self._queues.setdefault(known(method), []).append((fault, times))

    def take(self, method: str) -> Fault | None:
        """Give the fault that the next call of a method has, and count it."""
        with self.changed:
            queue = self._queues.get(method, [])
            while queue:
                fault, times = queue[0]
                if isinstance(fault, Held) and fault.released:
                    queue.pop(0)
                    continue
                if times is not None and times <= 1:
                    queue.pop(0)
                elif times is not None:
                    queue[0] = (fault, times - 1)
                return fault
            return None

    def clear(self) -> None:
        """Forget all faults to come, and release what is held."""
        with self.changed:
            held = [fault for queue in self._queues.values() for fault, _ in queue if isinstance(fault, Held)]
            self._queues.clear()
        for fault in held:
            fault.release()


class FaultControls:
    """How a test orders faults; `times` None means all calls, until `heal`."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def fail(self, method: str, code: grpc.StatusCode, times: int | None = 1, details: str = "") -> None:
        """Let the next calls of a method end with a status."""
        self._faults.add(method, Fail(code, details), times)

    def drop_reply(self, method: str, times: int | None = 1) -> None:
        """Let the next calls of a method be carried out here, and break before the node hears of it."""
        self._faults.add(method, DropReply(), times)

    def hold(self, method: str, times: int | None = None, *, after_chunks: int = 0) -> Held:
        """Let calls of a method go unanswered until the result is released; of a stream, after some chunks."""
        held = Held(after=after_chunks, _changed=self._faults.changed)
        self._faults.add(method, held, times)
        return held

    def cut_stream(
        self,
        after_chunks: int,
        times: int | None = 1,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        details: str = "Socket closed",
    ) -> None:
        """Let the next downloads end with a status after some chunks."""
        self._faults.add("GetExperimentData", CutStream(after_chunks, code, details), times)

    def break_chunks(self, after_chunks: int = 0, times: int | None = 1) -> None:
        """Let the chunks of the next downloads, after some good ones, state a wrong size."""
        self._faults.add("GetExperimentData", BreakChunks(after_chunks), times)

    def answer(self, method: str, reply: Message | bytes, times: int | None = 1) -> None:
        """Let the next calls of a method be answered with this, without anything being done about them.

        For a reply of another type, with absurd values, or of bytes that are no message at all.
        """
        self._faults.add(method, Answer(reply), times)

    def stream(
        self, messages: Callable[[], Iterable[Message | bytes]], times: int | None = 1, *, pause: float = 0.0
    ) -> None:
        """Let the next downloads bring these messages, each after a pause of so many seconds; they may be endless."""
        self._faults.add("GetExperimentData", Stream(messages, pause), times)

    def heal(self) -> None:
        """Forget all faults to come, and release what is held."""
        self._faults.clear()


def known(method: str) -> str:
    """Give the name of a method back; raises ValueError where no node calls it."""
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; there are {', '.join(METHODS)}")
    return method
