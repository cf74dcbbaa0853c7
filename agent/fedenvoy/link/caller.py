"""One channel, and the one place where gRPC's errors become `CallError`: each with its meaning and a sentence."""

from __future__ import annotations

import threading
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import DirectorAddress, LinkSettings, TlsFiles
from fedenvoy.link.channel import open_channel
from fedenvoy.link.dialect import Method, ReplyT, RequestT
from fedenvoy.link.status import Rpc, classify, is_tls_fault, tls_meaning
from fedenvoy.link.text import bounded

__all__ = ["Caller"]

_MOST_WORDS = 2000
"""Bytes of a director's own words that are told; they go into the log and the journal."""


class Caller:
    """Opens its channel with the first call, and ends every call when it is closed.

    Args:
        director: Who is called.
        tls: The certificates; None: plain text.
        settings: Bounds, and whether proxies apply.

    """

    def __init__(self, director: DirectorAddress, tls: TlsFiles | None, settings: LinkSettings) -> None:
        self.director = director
        self.tls = tls
        self.settings = settings
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._closed = False

    def unary(self, method: Method[RequestT, ReplyT], request: RequestT, timeout: float) -> ReplyT:
        """Call a method and wait for its reply.

        Args:
            method: Which.
            request: What it is asked.
            timeout: Deadline in seconds.

        Raises:
            CallError: It brought no reply.

        """
        call = self._bind_unary(method)
        try:
            return self.reply(method, call(request, timeout=timeout))
        except (grpc.RpcError, ValueError) as error:
            raise self.failure(method.rpc, error, timeout) from error

    def future(self, method: Method[RequestT, ReplyT], request: RequestT, timeout: float) -> Any:
        """Begin a call; its `result()` is for `reply`, and raises what `failure` takes.

        Raises:
            CallError: It could not begin.

        """
        call = self._bind_unary(method)
        try:
            return call.future(request, timeout=timeout)
        except (grpc.RpcError, ValueError) as error:
            raise self.failure(method.rpc, error, timeout) from error

    def stream(self, method: Method[RequestT, ReplyT], request: RequestT, timeout: float | None) -> Any:
        """Begin a call whose reply is a stream: an iterator of messages as they come, not decoded.

        It raises what `failure` takes.

        Raises:
            CallError: It could not begin.

        """
        with self._lock:
            bound: grpc.UnaryStreamMultiCallable[RequestT, bytes] = self._open().unary_stream(
                method.path, request_serializer=_to_wire, response_deserializer=None
            )
        try:
            return bound(request, timeout=timeout)
        except (grpc.RpcError, ValueError) as error:
            raise self.failure(method.rpc, error, timeout) from error

    def reply(self, method: Method[RequestT, ReplyT], data: bytes) -> ReplyT:
        """Read a reply.

        gRPC would do it, too; but it tells of one that cannot be read by a traceback in the log.

        Raises:
            CallError: It is no message of the protocol.

        """
        try:
            return method.reply.FromString(data)
        except DecodeError as error:
            text = (
                f"the director at {self.director} answered {method.rpc.value} with what is no message of the protocol"
            )
            raise CallError(kind=CallKind.RETRYABLE, code="DATA_LOSS", text=text) from error

    def close(self) -> None:
        """End all calls and the channel; harmless when repeated."""
        with self._lock:
            self._closed = True
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def failure(self, rpc: Rpc, error: Exception, timeout: float | None) -> CallError:
        """Translate what gRPC raised.

        Args:
            rpc: Which method was called.
            error: What it raised.
            timeout: The deadline it had, seconds; None: none.

        """
        if self._closed:  # a call on a closed channel raises a bare ValueError
            return CallError(kind=CallKind.CANCELLED, code="CANCELLED", text=f"{rpc.value} was ended by this side")
        if not isinstance(error, grpc.Call):
            return CallError(kind=CallKind.RETRYABLE, text=f"{rpc.value} failed: {error!r}")
        code, details = error.code(), error.details() or ""
        kind = classify(rpc, code, details, tls=self.tls is not None)
        return CallError(kind=kind, code=code.name, text=self._sentence(rpc, code, details, timeout))

    def _sentence(self, rpc: Rpc, code: grpc.StatusCode, details: str, timeout: float | None) -> str:
        director, words = f"the director at {self.director}", bounded(" ".join(details.split()), _MOST_WORDS)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and timeout is not None:
            return f"{director} did not answer {rpc.value} within {timeout:.3g} s"
        if code is grpc.StatusCode.UNAVAILABLE:
            if is_tls_fault(details, tls=self.tls is not None):
                meaning = tls_meaning(details) or "this node's certificate files cannot be used together"
                return f"TLS with {director} failed: {meaning} ({words})"
            return f"{director} cannot be reached: {words}"
        if code is grpc.StatusCode.NOT_FOUND and rpc is Rpc.HEALTH:
            return f"{director} does not know this shard, as after a restart ({words})"
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return f"{director} does not know {rpc.value}; it is no director of OpenFL 1.5 or 1.6 ({words})"
        return f"{director} failed {rpc.value}: {words or code.name}"

    def _open(self) -> grpc.Channel:
        if self._closed:
            raise CallError(kind=CallKind.CANCELLED, code="CANCELLED", text="the channel was closed by this side")
        if self._channel is None:
            self._channel = open_channel(self.director, self.tls, self.settings)
        return self._channel

    def _bind_unary(self, method: Method[RequestT, ReplyT]) -> grpc.UnaryUnaryMultiCallable[RequestT, bytes]:
        with self._lock:
            return self._open().unary_unary(method.path, request_serializer=_to_wire, response_deserializer=None)


def _to_wire(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content
