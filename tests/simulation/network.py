"""Calls between agent and director, and what can befall them: loss, delay, repetition, silence, broken connections.

A call has two ends that may disagree about whether it is over: the client's, which always ends (by an answer, an error,
its deadline, or because it was given up), and the server's, which may go on serving a call that nobody waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fedenvoy.calls import CallError, CallKind

from simulation.kernel import Kernel, Ticket

if TYPE_CHECKING:
    from simulation.director import Director

__all__ = ["Call", "Channel", "Network", "failure"]

DATA, HEALTH, POLL, REGISTER, REPORT = "data", "health", "poll", "register", "report"
RETRANSMIT = 1.5
"""Seconds after which a packet that vanished is sent again, as TCP does."""


def failure(kind: CallKind, code: str, text: str = "") -> CallError:
    """Make the error that a call ends with."""
    return CallError(kind=kind, code=code, text=text or code.lower())


class Call:
    """One call, seen from both ends.

    Attributes:
        channel: Over which connection.
        rpc: Which method.
        request: What is asked.
        over: Whether the client's end is over.
        gone: Whether the server knows that.
        progressed: Called at each piece of a stream.

    """

    __slots__ = ("_answer", "_deadline", "channel", "gone", "over", "progressed", "request", "rpc")

    def __init__(self, channel: Channel, rpc: str, request: object, answer: Callable[[object], None]) -> None:
        self.channel = channel
        self.rpc = rpc
        self.request = request
        self.over = False
        self.gone = False
        self.progressed: Callable[[], None] = lambda: None
        self._answer = answer
        self._deadline: Ticket | None = None

    def end(self, result: object) -> None:
        """End the client's end: with what came back, or with a CallError. Only the first end counts."""
        if self.over:
            return
        self.over = True
        if self._deadline is not None:
            self._deadline.cancel()
        self.channel.calls.pop(self, None)
        self._answer(result)

    def cancel(self) -> None:
        """Give the call up; the server learns it if it can be reached."""
        if not self.over:
            self.end(failure(CallKind.CANCELLED, "CANCELLED"))
            self.channel.network.tell_gone(self)

    def bound(self, seconds: float) -> None:
        """Give the call a deadline; both ends keep it."""
        self._deadline = self.channel.network.kernel.after(seconds, self._too_late)

    def _too_late(self) -> None:
        self.channel.network.forget(self)
        self.end(failure(CallKind.RETRYABLE, "DEADLINE_EXCEEDED"))


class Channel:
    """One connection to the director, as the agent holds it.

    Attributes:
        calls: Those under way, in the order in which they began.
        connected: Whether it has been used with success; a handshake is over then.
        dead: Whether the other end is gone without this one knowing: all calls end by their deadlines.
        closed: Whether the agent closed it.

    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.calls: dict[Call, None] = {}
        self.connected = False
        self.dead = False
        self.closed = False

    def call(self, rpc: str, request: object, deadline: float, answer: Callable[[object], None]) -> Call:
        """Begin a call; `answer` gets the reply or a CallError, at once only when the channel is closed."""
        call = Call(self, rpc, request, answer)
        if self.closed:
            call.end(failure(CallKind.CANCELLED, "CANCELLED"))
            return call
        self.calls[call] = None
        call.bound(deadline)
        self.network.send(call)
        return call

    def close(self) -> None:
        """End all calls and take no more; harmless when repeated."""
        self.closed = True
        self.network.channels.pop(self, None)
        for call in list(self.calls):
            call.cancel()


class Network:
    """The way between the two, with the faults it has at the moment.

    Attributes:
        vanishing: While above zero, packets vanish and are sent again until they get through.
        rejecting: While above zero, handshakes are refused.
        denying: While above zero, every call is refused.
        loss: Chance that a call breaks, each way.
        slow: Seconds that may be added to each way.
        twice: Chance that a request, or an answer on its way to the owner, comes twice.

    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.director: Director
        self.channels: dict[Channel, None] = {}
        self.vanishing = self.rejecting = self.denying = 0
        self.loss = self.slow = self.twice = 0.0

    def channel(self) -> Channel:
        """Open a connection."""
        channel = Channel(self)
        self.channels[channel] = None
        return channel

    def latency(self) -> float:
        """Draw the seconds of one way."""
        delay = 0.001 + 0.03 * self.kernel.rng.random()
        return delay + self.kernel.rng.random() * self.slow if self.slow else delay

    def send(self, call: Call) -> None:
        """Let a request go its way."""
        refused = self._refusal(call)
        if refused is not None:
            self._fail_soon(call, refused)
            return
        if self.kernel.chance(self.loss):
            self._break(call)
            return
        self.kernel.after(self.latency(), lambda: self._arrive(call))
        if self.kernel.chance(self.twice):
            self.kernel.after(self.latency() * 3, lambda: self._arrive(call))

    def _refusal(self, call: Call) -> CallError | None:
        if self.vanishing or call.channel.dead:
            return None
        if self.denying or (self.rejecting and not call.channel.connected):
            return failure(CallKind.REJECTED, "UNAUTHENTICATED" if self.denying else "UNAVAILABLE", "rejected")
        if not self.director.up:
            return failure(CallKind.RETRYABLE, "UNAVAILABLE")
        return None

    def _fail_soon(self, call: Call, error: CallError) -> None:
        self.kernel.after(self.latency(), lambda: call.end(error))

    def _break(self, call: Call) -> None:
        """Lose a call: half of them silently, which the deadline ends."""
        if self.kernel.chance(0.5):
            self._fail_soon(call, failure(CallKind.RETRYABLE, "UNAVAILABLE"))

    def _arrive(self, call: Call) -> None:
        if call.channel.dead or (call.over and self.vanishing):
            return
        if self.vanishing:
            self.kernel.after(RETRANSMIT, lambda: self._arrive(call))
        elif not self.director.up:
            call.end(failure(CallKind.RETRYABLE, "UNAVAILABLE"))
        else:
            call.channel.connected = True
            self.director.receive(call)

    def reply(self, call: Call, result: object) -> None:
        """Let an answer go its way back."""
        if self.kernel.chance(self.loss):
            self._break(call)
        else:
            self.kernel.after(self.latency(), lambda: self._return(call, result))

    def _return(self, call: Call, result: object) -> None:
        if call.over or call.channel.dead:
            return
        if self.vanishing:
            self.kernel.after(RETRANSMIT, lambda: self._return(call, result))
        else:
            call.end(result)

    def tell_gone(self, call: Call) -> None:
        """Let the server know that a call was given up, if anything can reach it."""
        if not (self.vanishing or call.channel.dead):
            self.kernel.after(self.latency(), lambda: self.forget(call))

    def forget(self, call: Call) -> None:
        """The server learns that a call is over."""
        call.gone = True
        self.director.left(call)

    def reset(self, *, client_sees: bool, server_sees: bool) -> None:
        """Break every connection; each end may or may not notice."""
        for channel in list(self.channels):
            channel.connected = False
            channel.dead = channel.dead or not client_sees
            for call in list(channel.calls):
                if server_sees:
                    self.forget(call)
                if client_sees:
                    call.end(failure(CallKind.RETRYABLE, "UNAVAILABLE"))
