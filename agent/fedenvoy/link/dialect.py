"""The director protocol of OpenFL 1.5 and 1.6 as one object: the methods' paths and what is in their messages.

Nothing here calls anything. Another protocol is another object of this shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from fedenvoy.events import DeviceReading, ShardDescription
from fedenvoy.link.status import Rpc
from fedenvoy.link.text import bounded, clean, device_index, uint32, uint64
from fedenvoy.wire import openfl16_pb2 as wire

__all__ = ["BrokenChunkError", "Method", "Openfl16"]

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)


class BrokenChunkError(ValueError):
    """A chunk of an archive whose length is not the one it states."""


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ReplyT]):
    """One method of the director.

    Attributes:
        rpc: Which it is, whatever the protocol calls it.
        path: Its full path on the wire.
        reply: The class of its reply, or of each message of its reply.

    """

    rpc: Rpc
    path: str
    reply: type[ReplyT]


_SERVICE = "openfl.director.Director"
_SIZE, _BYTES = b"\x08", b"\x12"
"""What stands before the two fields of a chunk on the wire."""


class Openfl16:
    """The protocol of OpenFL 1.5 and 1.6, for one shard.

    Args:
        shard_name: The name under which the director knows this node.

    """

    SERVICE = _SERVICE
    REGISTER: Method[wire.UpdateShardInfoRequest, wire.UpdateShardInfoResponse] = Method(
        Rpc.REGISTER, f"/{_SERVICE}/UpdateShardInfo", wire.UpdateShardInfoResponse
    )
    POLL: Method[wire.WaitExperimentRequest, wire.WaitExperimentResponse] = Method(
        Rpc.POLL, f"/{_SERVICE}/WaitExperiment", wire.WaitExperimentResponse
    )
    DATA: Method[wire.GetExperimentDataRequest, wire.ExperimentData] = Method(
        Rpc.DATA, f"/{_SERVICE}/GetExperimentData", wire.ExperimentData
    )
    HEALTH: Method[wire.UpdateEnvoyStatusRequest, wire.UpdateEnvoyStatusResponse] = Method(
        Rpc.HEALTH, f"/{_SERVICE}/UpdateEnvoyStatus", wire.UpdateEnvoyStatusResponse
    )
    REPORT: Method[wire.SetExperimentFailedRequest, wire.SetExperimentFailedResponse] = Method(
        Rpc.REPORT, f"/{_SERVICE}/SetExperimentFailed", wire.SetExperimentFailedResponse
    )

    def __init__(self, shard_name: str) -> None:
        self.shard_name = shard_name

    def registration(self, shard: ShardDescription, devices: Sequence[int | str]) -> wire.UpdateShardInfoRequest:
        """Describe the shard and its GPUs; of each GPU only the number."""
        numbered = (device_index(device, position) for position, device in enumerate(devices))
        node = wire.NodeInfo(
            name=self.shard_name, cuda_devices=[wire.CudaDeviceInfo(index=index) for index in numbered]
        )
        info = wire.ShardInfo(
            node_info=node,
            shard_description=clean(shard.description),
            sample_shape=[clean(size) for size in shard.sample_shape],
            target_shape=[clean(size) for size in shard.target_shape],
        )
        return wire.UpdateShardInfoRequest(shard_info=info)

    def wait(self) -> wire.WaitExperimentRequest:
        """Ask for work."""
        return wire.WaitExperimentRequest(collaborator_name=self.shard_name)

    def archive(self, experiment: str) -> wire.GetExperimentDataRequest:
        """Ask for an experiment's archive."""
        return wire.GetExperimentDataRequest(experiment_name=experiment, collaborator_name=self.shard_name)

    def chunk(self, data: bytes) -> bytes | memoryview:
        """Give a chunk's bytes, out of the message as it came; they are not copied where it has its usual form.

        Raises:
            BrokenChunkError: It does not hold as many bytes as it says, or is no such message.

        """
        size, content = _usual_chunk(data) or self._any_chunk(data)
        if size != len(content):
            raise BrokenChunkError(f"it says {size} bytes and holds {len(content)}")
        return content

    def _any_chunk(self, data: bytes) -> tuple[int, bytes]:
        try:
            message = wire.ExperimentData.FromString(data)
        except DecodeError as error:
            raise BrokenChunkError("it is no message of the protocol") from error
        return message.size, message.npbytes

    def health(self, *, running: bool, readings: Sequence[DeviceReading]) -> wire.UpdateEnvoyStatusRequest:
        """Tell that this node lives, and how its GPUs are."""
        devices = [
            wire.CudaDeviceInfo(
                index=uint64(reading.index),
                memory_total=uint64(reading.memory_total),
                memory_utilized=uint64(reading.memory_utilized),
                device_utilization=clean(reading.device_utilization),
                cuda_driver_version=clean(reading.cuda_driver_version),
                cuda_version=clean(reading.cuda_version),
                name=clean(reading.name),
            )
            for reading in readings
        ]
        return wire.UpdateEnvoyStatusRequest(name=self.shard_name, is_experiment_running=running, cuda_devices=devices)

    def period(self, reply: wire.UpdateEnvoyStatusResponse) -> float | None:
        """Give the seconds until the next health check, as the director says them; None where it says nothing."""
        if not reply.HasField("health_check_period"):
            return None
        return reply.health_check_period.seconds + reply.health_check_period.nanos / 1e9

    def failure(self, experiment: str, code: int, text: str) -> wire.SetExperimentFailedRequest:
        """Tell that an experiment failed here; the text is bounded."""
        return wire.SetExperimentFailedRequest(
            experiment_name=experiment,
            collaborator_name=self.shard_name,
            error_code=uint32(code),
            error_description=bounded(text),
        )


def _usual_chunk(data: bytes) -> tuple[int, memoryview] | None:
    """Read a chunk of the form in which every director sends it: its size, then its bytes to the end.

    A generated class copies the bytes twice, which takes as long as writing them.
    """
    size, at = _varint(data, 1) if data[:1] == _SIZE else (0, 0)
    if data[at : at + 1] != _BYTES:
        return None
    length, at = _varint(data, at + 1)
    return (size, memoryview(data)[at:]) if length == len(data) - at else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Give a number and the place behind it; -1 where there is none of at most five bytes."""
    value = 0
    for shift, byte in enumerate(data[at : at + 5]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    return -1, len(data)
