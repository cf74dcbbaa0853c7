"""The owner thread: one mailbox, one heap of clocks, and the only caller of the core.

Every other thread posts frozen messages and reads the published snapshot; none of them touches the core. For each
message the loop asks the core, writes the record, publishes the snapshot, and only then carries the commands out. Time
comes from a clock that a test can turn by hand; `run_pending` then does what is due without waiting.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedenvoy_statecharts import Event

from fedenvoy.commands import Arm, Command, Disarm, End, Persist, Record, Timer
from fedenvoy.core import Core, Snapshot
from fedenvoy.errors import Exit, StoreError
from fedenvoy.events import Message, Problem

__all__ = ["Loop"]

logger = logging.getLogger(__name__)


@dataclass(order=True, slots=True)
class _Due:
    """Something that waits for its time."""

    at: float
    order: int
    what: Message | Command = field(compare=False)
    timer: Timer | None = field(compare=False, default=None)


class Loop:
    """Runs a core until its session ends.

    Args:
        core: The core; nobody else may call it from now on.
        persist: Writes a record durably; raises StoreError when it cannot.
        dispatch: Starts carrying a command out; must neither block nor raise.
        observe: Called after every step with its record, before its commands are carried out.
        clock: Gives monotonic seconds.

    """

    def __init__(
        self,
        core: Core,
        *,
        persist: Callable[[Record], None],
        dispatch: Callable[[Command], None],
        observe: Callable[[Record], None] = lambda _record: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core = core
        self._persist = persist
        self._dispatch = dispatch
        self._observe = observe
        self._clock = clock
        self._mailbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._due: list[_Due] = []
        self._armed: dict[Timer, _Due] = {}
        self._order = itertools.count()
        self._owner: int | None = None
        self._started = False
        self._storing = True
        self._busy_since: float | None = None
        self.end: End | None = None
        """How the session ended; None while it goes on."""
        self.snapshot: Snapshot = core.snapshot()
        """The agent after the last step; replaced as a whole, so that any thread may read it."""

    @property
    def busy_for(self) -> float:
        """Seconds that the owner has been at the present step; 0 while it waits. For other threads."""
        since = self._busy_since
        return 0.0 if since is None else self._clock() - since

    def post(self, message: Message) -> None:
        """Tell the owner thread that something happened. Thread-safe, reentrant (for signal handlers), never blocks."""
        self._mailbox.put(message)

    def run(self) -> End:
        """Work until the session ends; the calling thread is the owner. Give how it ended."""
        self._begin()
        while self.end is None:
            self._wait()
            self.run_pending()
        return self.end

    def run_pending(self) -> None:
        """Do everything that is due now, without waiting."""
        self._begin()
        while self.end is None:
            message = self._next()
            if message is None:
                return
            self._step(self._core.handle(message, self._clock()))

    def _begin(self) -> None:
        """Take ownership, and begin the session on the first call."""
        if self._owner is None:
            self._owner = threading.get_ident()
        assert self._owner == threading.get_ident(), "only one thread may run the loop"
        if not self._started:
            self._started = True
            self._step(self._core.start(self._clock()))

    def _wait(self) -> None:
        """Sleep until a message arrives or a clock is due; put the message back in order by handling it first."""
        timeout = max(0.0, self._due[0].at - self._clock()) if self._due else None
        try:
            message = self._mailbox.get(timeout=timeout)
        except queue.Empty:
            return
        if self.end is None:
            self._step(self._core.handle(message, self._clock()))

    def _next(self) -> Message | None:
        """Give the next message: what was posted first, then what is due; commands that are due are carried out."""
        while True:
            try:
                return self._mailbox.get_nowait()
            except queue.Empty:
                pass
            if not self._due or self._due[0].at > self._clock():
                return None
            due = heapq.heappop(self._due)
            if isinstance(due.what, Message):
                if due.timer is None or self._armed.get(due.timer) is not due:
                    continue
                del self._armed[due.timer]
                return due.what
            if self._core.wants(due.what):
                self._dispatch(due.what)

    def _step(self, commands: tuple[Command, ...]) -> None:
        """Carry out one step, and let others see how long it takes."""
        self._busy_since = self._clock()
        try:
            self._take(commands)
        finally:
            self._busy_since = None

    def _take(self, commands: tuple[Command, ...]) -> None:
        """Do what a step asks: the record first, and nothing of it can be seen or felt unless that is on disk."""
        if not commands:
            self.snapshot = self._core.snapshot()  # an event was stale, and was counted
            return
        persist, *others = commands
        assert isinstance(persist, Persist)
        if not self._write(persist.record):
            self._end_without_store()
            return
        self.snapshot = self._core.snapshot()
        self._observe(persist.record)
        for command in others:
            self._carry_out(command)

    def _end_without_store(self) -> None:
        """End the session: by the chart's own row, or, where the step that was lost had entered the end, as it is."""
        text = "the journal cannot be written"
        if self._core.ended:
            self.snapshot = self._core.snapshot()
            self.end = End(code=Exit.STORE, text=text)
        else:
            problem = Problem(event=Event.STORE_FAILED, text=text, code="store")
            self._step(self._core.handle(problem, self._clock()))

    def _write(self, record: Record) -> bool:
        """Write the record; once writing has failed the session is ending, and its last records are best effort."""
        try:
            self._persist(record)
        except StoreError as error:
            logger.error("%s", error)  # noqa: TRY400 - the sentence says it; a traceback would not help
            first, self._storing = self._storing, False
            return not first
        return True

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Arm):
            self._armed[command.timer] = self._push(command.delay, command.message, command.timer)
        elif isinstance(command, Disarm):
            self._armed.pop(command.timer, None)
        elif isinstance(command, End):
            self.end = command
        elif command.delay > 0:
            self._push(command.delay, command, None)
        else:
            self._dispatch(command)

    def _push(self, delay: float, what: Message | Command, timer: Timer | None) -> _Due:
        due = _Due(self._clock() + delay, next(self._order), what, timer)
        heapq.heappush(self._due, due)
        return due

    @property
    def next_due(self) -> float | None:
        """When the next clock is due (monotonic seconds); None when none is set. For status displays and tests."""
        return self._due[0].at if self._due else None
