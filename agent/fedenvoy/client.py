"""The reference's director client, as an attribute of the public class: the same five calls, over our link.

The agent itself does not use it. It is there for code written around the reference's `envoy.director_client`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedenvoy.app.node import open_link
from fedenvoy.calls import CallError, CallKind
from fedenvoy.config import NodeConfig
from fedenvoy.engines.descriptors import describe_instance
from fedenvoy.events import DeviceReading
from fedenvoy.ports import DirectorPort

__all__ = ["ArchiveChunk", "ShardDirectorClient", "readings_from_dicts"]


@dataclass(frozen=True, slots=True)
class ArchiveChunk:
    """One message of an archive's stream, in the reference's shape.

    Attributes:
        size: Number of bytes.
        npbytes: The bytes.

    """

    size: int
    npbytes: bytes


class ShardDirectorClient:
    """Calls the director on a channel of its own, opened at the first call.

    Attributes:
        shard_name: The name under which it calls.

    """

    def __init__(self, config: NodeConfig) -> None:
        self.shard_name = config.shard_name
        self._config = config
        self._link: DirectorPort | None = None

    def _open(self) -> DirectorPort:
        if self._link is None:
            self._link = open_link(self._config)
        return self._link

    def report_shard_info(self, shard_descriptor: Any, cuda_devices: Sequence[int | str]) -> bool:
        """Register the shard; give whether the director accepts it."""
        return self._open().register(describe_instance(shard_descriptor), cuda_devices)

    def wait_experiment(self) -> str:
        """Wait until an experiment is offered; give its name."""
        return self._open().wait_experiment(lambda _call: None)

    def get_experiment_data(self, experiment_name: str) -> Iterator[ArchiveChunk]:
        """Stream an experiment's archive."""
        for data in self._open().experiment_data(experiment_name, lambda _call: None):
            yield ArchiveChunk(len(data), bytes(data))

    def set_experiment_failed(self, experiment_name: str, error_code: int = 1, error_description: str = "") -> None:
        """Tell the director that an experiment failed here."""
        self._open().experiment_failed(experiment_name, error_code, error_description)

    def send_health_check(
        self,
        *,
        envoy_name: str,
        is_experiment_running: bool,
        cuda_devices_info: Iterable[Mapping[str, Any]] | None = None,
    ) -> float:
        """Send one health check; give the seconds until the next.

        Args:
            envoy_name: Must be this client's shard name.
            is_experiment_running: Whether an experiment runs.
            cuda_devices_info: One mapping for each registered GPU, in order.

        Raises:
            CallError: With kind REREGISTER when the director does not know the shard.

        """
        if envoy_name != self.shard_name:
            text = f"this client speaks for {self.shard_name!r}, not for {envoy_name!r}"
            raise CallError(kind=CallKind.REJECTED, code="INVALID_ARGUMENT", text=text)
        readings = readings_from_dicts(cuda_devices_info or ())
        return self._open().health_check(running=is_experiment_running, readings=readings).period

    def close(self) -> None:
        """Close the channel; the next call opens a new one."""
        if self._link is not None:
            self._link.close()
            self._link = None


def readings_from_dicts(infos: Iterable[Mapping[str, Any]]) -> tuple[DeviceReading, ...]:
    """Turn the reference's GPU dictionaries into readings; keys that are missing stay at zero or empty."""
    return tuple(
        DeviceReading(
            index=int(info.get("index", position)),
            memory_total=int(info.get("memory_total") or 0),
            memory_utilized=int(info.get("memory_utilized") or 0),
            device_utilization=str(info.get("device_utilization") or ""),
            cuda_driver_version=str(info.get("cuda_driver_version") or ""),
            cuda_version=str(info.get("cuda_version") or ""),
            name=str(info.get("name") or ""),
        )
        for position, info in enumerate(infos)
    )
