"""Bounds OpenFL's wait for its aggregator, which by itself is endless. Runs in the experiment's interpreter.

OpenFL repeats a call that fails for as long as it fails, and waits for ever for an answer that does not come. Here
every call passes a watch: what fails is repeated for a while only, with pauses, and while a call lasts the aggregator
is looked at over a second connection. A call that takes hours because there is much to send is let be, as long as
somebody is there who takes it.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_CALL = 4 * 3600.0
"""Seconds after which a call counts as failed although the aggregator is there: enough for 1 GiB at 75 kB/s."""
LONGEST_PAUSE = 5.0
LONGEST_PACE = 30.0
LONGEST_SHAKE = 2.0
PING_PERIOD = 330.0
"""Seconds; a server of gRPC's default settings takes more than one ping in 300 s for an attack."""
MESSAGES = (
    ("grpc.max_metadata_size", 32 * 2**20),
    ("grpc.max_send_message_length", 2**30),
    ("grpc.max_receive_message_length", 2**30),
)
"""As OpenFL sets them on both sides."""
PINGS = (
    ("grpc.keepalive_time_ms", round(PING_PERIOD * 1000)),
    ("grpc.keepalive_timeout_ms", 60_000),
    ("grpc.http2.max_pings_without_data", 0),
)
"""A connection that a firewall has forgotten is noticed in a call that waits, although new ones would work."""


class AggregatorGoneError(ConnectionError):
    """The aggregator answered nothing for longer than this node waits."""

    fedenvoy_code = "aggregator"


class Relay(NamedTuple):
    """The agent's relay, by which a confined process reaches its aggregator."""

    socket: str
    """Address of its socket."""
    aggregator: str
    """Host and port that it leads to."""


def bound(client: Any, patience: float, relay: Relay | None = None) -> None:
    """Have a client of OpenFL's raise AggregatorGoneError when nothing was answered for `patience` seconds.

    The client opens a channel for every call, by two methods of its own; these are replaced. It reads the certificates
    anew each time, as it did.
    """
    own_pool = ("grpc.use_local_subchannel_pool", 1)
    watch = Watch(client.uri, patience, lambda: open_channel(client, own_pool, relay=relay))

    def create(*_arguments: Any, **_named: Any) -> Any:
        return watch.over(open_channel(client, *PINGS, relay=relay))

    client.create_insecure_channel = create
    client.create_tls_channel = create


def take(relay: Relay, kind: Any) -> None:
    """Have every client of a class (OpenFL's) reach the aggregator through a relay, which has the certificates."""

    def create(client: Any, *_arguments: Any, **_named: Any) -> Any:
        return open_channel(client, relay=relay)

    kind.create_insecure_channel = create
    kind.create_tls_channel = create


def open_channel(client: Any, *options: tuple[str, Any], relay: Relay | None = None) -> Any:
    """Open a channel as a client of OpenFL's does, with further options; through a relay it looks the same there."""
    options = (*MESSAGES, *options)
    if relay is not None:
        scheme = ("grpc.http2_scheme", "https" if client.tls else "http")
        options = (*options, ("grpc.default_authority", relay.aggregator), scheme)
        return grpc.insecure_channel(f"unix:{relay.socket}", options=options)
    if not client.tls:
        return grpc.insecure_channel(client.uri, options=options)
    own = () if client.disable_client_auth else (client.private_key, client.certificate)
    credentials = grpc.ssl_channel_credentials(*(Path(file).read_bytes() for file in (client.root_certificate, *own)))
    return grpc.secure_channel(client.uri, credentials, options=options)


class Watch(grpc.UnaryUnaryClientInterceptor, grpc.StreamUnaryClientInterceptor):  # type: ignore[misc,type-arg,unused-ignore]
    """Stands in every call of a client; one call at a time, as OpenFL makes them.

    Args:
        uri: The aggregator's address, for people.
        patience: Seconds.
        probe: Opens another channel to the aggregator, with a connection of its own.

    """

    def __init__(self, uri: str, patience: float, probe: Callable[[], Any]) -> None:
        self._uri = uri
        self._patience = patience
        self._probe = probe
        self._pace = min(LONGEST_PACE, max(1.0, patience / 5))
        self._channel: Any = None
        self._failing: float | None = None
        self._failures = 0
        self._seen = 0.0
        self._gone = False

    def over(self, channel: Any) -> Any:
        """Give the channel with this watch in its calls."""
        self._channel = channel
        return grpc.intercept_channel(channel, self)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:  # noqa: ARG002
        """Watch a call with one request."""
        return self._watched(continuation, request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:  # noqa: ARG002
        """Watch a call with many requests."""
        return self._watched(continuation, request_iterator)

    def _watched(self, continuation: Any, request: Any) -> Any:
        self._seen = time.monotonic() if self._failing is None else self._failing
        over = threading.Event()
        lookout = threading.Thread(target=self._look_out, args=(over,), daemon=True)
        lookout.start()
        try:
            answer = continuation(_Details(LONGEST_CALL), request)
        finally:
            over.set()
            lookout.join()
        if isinstance(answer, grpc.RpcError):
            self._failed(answer)
        elif self._failing is not None:
            self._failing, self._failures = None, 0
            say(f"the aggregator at {self._uri} answers again")
        return answer

    def _failed(self, error: Any) -> None:
        """Wait a little before the next try, or give up."""
        code, words = error.code(), " ".join(str(error.details()).split())[:300]
        if self._failing is None:
            self._failing = self._seen
            left = max(0.0, self._failing + self._patience - time.monotonic())
            say(f"the aggregator at {self._uri} fails: {code.name}: {words}; given up in {left:.0f} s")
        if self._gone or time.monotonic() - self._failing > self._patience:
            self._gone = True
            why = "it cannot be reached" if code is grpc.StatusCode.CANCELLED else f"{code.name}: {words}"
            raise AggregatorGoneError(
                f"the aggregator at {self._uri} has answered nothing for {self._patience:g} seconds "
                f"(agent.aggregator_timeout): {why}"
            )
        self._failures += 1
        if code is not grpc.StatusCode.UNAVAILABLE:  # after that one OpenFL itself makes a pause
            time.sleep(min(LONGEST_PAUSE, self._patience / 5, 0.1 * 2 ** min(self._failures, 10)))

    def _look_out(self, over: threading.Event) -> None:
        """While a call lasts, look from time to time whether anybody is there; end the call when nobody is."""
        while not over.wait(self._pace):
            if self._finds(over):
                self._seen = time.monotonic()
            elif not over.is_set() and time.monotonic() - self._seen > self._patience:
                self._gone = True
                self._channel.close()
                return

    def _finds(self, over: threading.Event) -> bool:
        """Whether somebody who speaks gRPC takes a new connection: a stopped process does not, nor does a dead link."""
        channel = self._probe()
        ready = grpc.channel_ready_future(channel)
        found = threading.Event()
        ready.add_done_callback(lambda _future: found.set())
        deadline = time.monotonic() + max(self._pace, LONGEST_SHAKE)
        while not (found.wait(0.05) or over.is_set() or time.monotonic() > deadline):
            pass
        answer = found.is_set()
        ready.cancel()
        channel.close()
        return answer


class _Details(grpc.ClientCallDetails):  # type: ignore[misc,unused-ignore]
    """What of a call's details is not as it was: it has a deadline."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout


def say(words: str) -> None:
    """Put a line into the log."""
    print(words, file=sys.stderr, flush=True)  # noqa: T201 - this is the log
