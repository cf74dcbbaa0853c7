"""The methods that a node calls, and one for its doctor, served over gRPC from a registry, with faults on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc

from fedenvoy.testing.faults import Answer, BreakChunks, CutStream, DropReply, Fail, Fault, Faults, Held, Stream
from fedenvoy.testing.recording import Recorder
from fedenvoy.testing.registry import Registry, UnknownShardError
from fedenvoy.wire import openfl16_pb2 as wire

__all__ = ["Service", "handlers"]

Context = grpc.ServicerContext


@dataclass(slots=True)
class Service:
    """What the handlers share; everything is guarded by the recorder's condition.

    Attributes:
        recorder: Keeps the calls.
        faults: The faults to come.
        registry: What the director knows.
        period: Seconds between health checks; None: the reply names none.
        chunk_size: Bytes in each chunk of an archive.
        stopping: Whether the server goes down.
        under_way: The number of calls that neither side has ended, by method.

    """

    recorder: Recorder
    faults: Faults
    registry: Registry
    period: float | None
    chunk_size: int
    stopping: bool = False
    under_way: Counter[str] = field(default_factory=Counter)

    def begin(self, method: str, request: Any, context: Context) -> Fault | None:
        """Keep a call, and do what its fault asks before any work."""
        identity = common_name(context)
        with self.recorder.changed:
            if context.add_callback(lambda: self._ended(method)):
                self.under_way[method] += 1
        self.recorder.add(method, request, context.peer(), identity)
        fault = self.faults.take(method)
        if isinstance(fault, Fail):
            context.abort(fault.code, fault.details)
        if isinstance(fault, Held) and not fault.after:
            self.wait_out(fault, context)
        return fault

    def wait_out(self, held: Held, context: Context) -> None:
        """Wait until a hold is released or its call is over."""
        with self.recorder.changed:
            self.recorder.changed.wait_for(lambda: held.released or not self.alive(context))

    def alive(self, context: Context) -> bool:
        """Whether a call still stands."""
        return not self.stopping and context.is_active()

    def _ended(self, method: str) -> None:
        with self.recorder.changed:
            self.under_way[method] -= 1
            self.recorder.changed.notify_all()


def common_name(context: Context) -> str:
    """Give the common name of a caller's certificate; empty on a plain link."""
    names: list[Any] = [*context.auth_context().get("x509_common_name", ())]
    return str(names[0], "utf-8", "replace") if names else ""


def handlers(service: Service) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Give the handlers of all methods, by name."""
    unary: dict[str, tuple[Any, Callable[[Service, Any, Context], Any]]] = {
        "UpdateShardInfo": (wire.UpdateShardInfoRequest, _register),
        "WaitExperiment": (wire.WaitExperimentRequest, _wait),
        "UpdateEnvoyStatus": (wire.UpdateEnvoyStatusRequest, _check_health),
        "SetExperimentFailed": (wire.SetExperimentFailedRequest, _fail),
        "GetDatasetInfo": (wire.GetDatasetInfoRequest, _tell_shapes),
    }
    made = {name: _unary(service, name, request, work) for name, (request, work) in unary.items()}
    made["GetExperimentData"] = grpc.unary_stream_rpc_method_handler(
        lambda request, context: _stream(service, request, context),
        request_deserializer=wire.GetExperimentDataRequest.FromString,
        response_serializer=_to_wire,
    )
    return made


def _unary(
    service: Service, name: str, request_type: Any, work: Callable[[Service, Any, Context], Any]
) -> grpc.RpcMethodHandler[Any, Any]:
    def serve(request: Any, context: Context) -> Any:
        fault = service.begin(name, request, context)
        if isinstance(fault, Answer):
            return fault.reply
        try:
            reply = work(service, request, context)
        except UnknownShardError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except LookupError as error:
            _raised(context, error)
        if isinstance(fault, DropReply):
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return reply

    return grpc.unary_unary_rpc_method_handler(
        serve,
        request_deserializer=request_type.FromString,
        response_serializer=_to_wire,
    )


def _register(service: Service, request: wire.UpdateShardInfoRequest, _context: Context) -> Any:
    with service.recorder.changed:
        return wire.UpdateShardInfoResponse(accepted=service.registry.register(request.shard_info))


def _wait(service: Service, request: wire.WaitExperimentRequest, context: Context) -> Any:
    with service.recorder.changed:
        name = service.registry.next_experiment(request.collaborator_name, lambda: service.alive(context))
    return wire.WaitExperimentResponse(experiment_name=name or "")


def _check_health(service: Service, request: wire.UpdateEnvoyStatusRequest, _context: Context) -> Any:
    reply = wire.UpdateEnvoyStatusResponse()
    with service.recorder.changed:
        service.registry.check_health(request)
        if service.period is not None:
            whole = int(service.period)
            reply.health_check_period.seconds = whole
            reply.health_check_period.nanos = round((service.period - whole) * 1e9)
    return reply


def _fail(service: Service, request: wire.SetExperimentFailedRequest, context: Context) -> Any:
    # The real director drops the report of a caller with a certificate: it knows its name, and wants an unknown one.
    if not common_name(context):
        with service.recorder.changed:
            service.registry.fail(request.experiment_name, request.collaborator_name)
    return wire.SetExperimentFailedResponse()


def _tell_shapes(service: Service, _request: wire.GetDatasetInfoRequest, _context: Context) -> Any:
    with service.recorder.changed:
        sample, target = service.registry.shapes
    return wire.GetDatasetInfoResponse(shard_info=wire.ShardInfo(sample_shape=sample or (), target_shape=target or ()))


def _stream(service: Service, request: wire.GetExperimentDataRequest, context: Context) -> Iterator[Any]:
    fault = service.begin("GetExperimentData", request, context)
    if isinstance(fault, Answer):
        yield fault.reply
        return
    if isinstance(fault, Stream):
        yield from _replaced(service, fault, context)
        return
    try:
        with service.recorder.changed:
            archive = service.registry.archive(request.experiment_name)
    except (LookupError, OSError) as error:
        _raised(context, error)
    for number, start in enumerate(range(0, len(archive), service.chunk_size)):
        _disturb(service, fault, number, context)
        chunk = archive[start : start + service.chunk_size]
        wrong = isinstance(fault, BreakChunks) and number >= fault.after
        yield wire.ExperimentData(size=len(chunk) + wrong, npbytes=chunk)
    _disturb(service, fault, -(-len(archive) // service.chunk_size), context)
    if isinstance(fault, DropReply):
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def _replaced(service: Service, stream: Stream, context: Context) -> Iterator[Any]:
    for message in stream.messages():
        with service.recorder.changed:
            if service.recorder.changed.wait_for(lambda: not service.alive(context), stream.pause):
                return
        yield message


def _disturb(service: Service, fault: Fault | None, sent: int, context: Context) -> None:
    """Do what a fault asks after a number of chunks."""
    if isinstance(fault, CutStream) and sent == fault.after:
        context.abort(fault.code, fault.details)
    if isinstance(fault, Held) and fault.after and sent == fault.after:
        service.wait_out(fault, context)


def _raised(context: Context, error: Exception) -> NoReturn:
    """Answer as the real director's server does when a method raises."""
    context.abort(grpc.StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")
    raise AssertionError("abort does not return")


def _to_wire(message: Any) -> bytes:
    content: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return content
