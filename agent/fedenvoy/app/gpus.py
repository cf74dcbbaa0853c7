"""A node's GPUs: what is read of them, whether an experiment may begin on them, and what it sees of them.

Everything here may be called by any thread; `unfit` and `held` may wait for the driver, and therefore not by the owner.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fedenvoy.cancel import Cancel
from fedenvoy.config import NodeConfig
from fedenvoy.devices import DeviceState, GpuReport
from fedenvoy.errors import FedenvoyError
from fedenvoy.events import DeviceReading
from fedenvoy.monitor.fitness import complaint
from fedenvoy.monitor.handles import is_bus_id
from fedenvoy.monitor.locks import DeviceLocks, LockedError, default_directory

__all__ = ["Gpus", "Sampler", "UnfitError"]

logger = logging.getLogger(__name__)

_LOOK_AGAIN = 2.0
"""Seconds between two looks while an experiment waits for its GPUs."""


class UnfitError(FedenvoyError):
    """The GPUs are not fit for an experiment, in one sentence."""


class Sampler(Protocol):
    """What reads the GPUs; see `monitor.sampler` and `monitor.hook`."""

    def start(self) -> None:
        """Begin to read."""

    def stop(self, timeout: float = 1.0) -> bool:
        """Read no more."""

    def readings(self) -> tuple[DeviceReading, ...]:
        """Give what is sent to the director; at once."""

    def age(self) -> float | None:
        """Give the seconds since that was read."""

    def report(self) -> GpuReport:
        """Give all that is known; at once."""

    def refresh(self, timeout: float) -> bool:
        """Read now, waiting no longer than `timeout` seconds."""


class Gpus:
    """The GPUs that a node is configured with; without any, nothing here does anything.

    Args:
        config: The node's configuration.
        sampler: What reads them.
        state: Where the locks lie when the machine has no common place for them.

    """

    def __init__(self, config: NodeConfig, sampler: Sampler, state: Path) -> None:
        self._devices = tuple(config.cuda_devices)
        self._settings = config.agent.gpu
        self._sampler = sampler
        self._locks = DeviceLocks(self._settings.lock_dir or default_directory(state / "gpu-locks"))
        if self._settings.require.any and not self._devices:
            logger.warning("agent.gpu.require asks nothing of anybody: params.cuda_devices names no GPU")

    def report(self) -> GpuReport:
        """Give all that is known at this moment; at once."""
        report = self._sampler.report()
        shared = self._locks.others([name for name, _alone in self._names(report)]) if self._devices else ""
        return replace(report, shared=shared)

    def declines(self) -> str:
        """Say why an offer must be declined for now; empty when it need not, or unfit GPUs fail it instead."""
        return self.unfit() if self._settings.unfit == "wait" else ""

    def fails(self) -> str:
        """Say why an offer fails here; empty when it does not, or unfit GPUs decline it instead."""
        return self.unfit() if self._settings.unfit == "fail" else ""

    def unfit(self) -> str:
        """Say why no experiment can begin at this moment; empty when one can. Reads anew where that matters."""
        try:
            with self._fit():
                return ""
        except UnfitError as error:
            return str(error)

    @contextlib.contextmanager
    def held(self, cancel: Cancel) -> Iterator[None]:
        """Use the GPUs for the length of a block, waiting until they are fit where the site wants that.

        Raises:
            UnfitError: They are not fit, and the site wants that told.
            Cancelled: Nobody waits any more.

        """
        told = ""
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(self._fit())
                except UnfitError as error:
                    if self._settings.unfit != "wait":
                        raise
                    if str(error) != told:
                        told = str(error)
                        logger.warning("the experiment waits for its GPUs: %s", told)
                else:
                    yield
                    return
            cancel.wait(_LOOK_AGAIN)
            cancel.raise_if_cancelled()

    def variables(self) -> Mapping[str, str]:
        """Give the variables by which an experiment's process sees these GPUs, in this order, and no other.

        By UUID where all are known: a number means another card to a process that counts in another order, or after one
        fell off the bus.
        """
        if not self._devices:
            return {}
        self._sampled()
        uuids = tuple(state.uuid for state in self._sampler.report().devices)
        known = len(uuids) == len(self._devices) and all(uuids)
        nameless = [] if known else [str(device) for device in self._devices if is_bus_id(device)]
        if nameless:
            logger.warning(
                "the experiment cannot see GPU %s: CUDA takes no PCI bus ids, and the UUID is not known",
                ", ".join(nameless),
            )
        names = uuids if known else self._devices
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, names))}

    @contextlib.contextmanager
    def _fit(self) -> Iterator[None]:
        """Hold the locks on GPUs that are fit."""
        if not self._devices:
            yield
            return
        with contextlib.ExitStack() as stack:
            require = self._settings.require
            self._sampled()
            try:
                stack.enter_context(self._locks.held(self._names(self._sampler.report())))
            except LockedError as error:
                raise UnfitError(f"GPU {error}") from error
            except OSError as error:
                if require.exclusive:
                    text = f"agent.gpu.require.exclusive cannot be kept: no GPU can be locked ({error})"
                    raise UnfitError(text) from error
                logger.info("other agents on this machine are not told of this node's GPUs: %s", error)
            if require.any:
                self._sampler.refresh(self._settings.deadline)
                if words := complaint(self._sampler.report(), require, self._settings.deadline):
                    raise UnfitError(words)
            yield

    def _sampled(self) -> None:
        """Wait for the first sample, for as long as one may take; for a driver that hangs only once."""
        if self._sampler.age() is None and not self._sampler.report().overdue:
            self._sampler.refresh(self._settings.deadline)

    def _names(self, report: GpuReport) -> list[tuple[str, bool]]:
        """Name what is to be locked: of a MIG instance its card, too, which its other users share."""
        alone = self._settings.require.exclusive
        names: list[tuple[str, bool]] = []
        for device, state in zip(self._devices, report.devices or map(_unknown, self._devices), strict=False):
            names.append((state.uuid or str(device), alone))
            if state.parent:
                names.append((state.parent, False))
        return names


def _unknown(device: int | str) -> DeviceState:
    return DeviceState(device, DeviceReading(0))
