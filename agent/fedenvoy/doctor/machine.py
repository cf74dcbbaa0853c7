"""What this machine gives: a clock, a place for the state, uv, and an interpreter, walls and GPUs for experiments."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from fedenvoy.app.site import Site
from fedenvoy.config import NodeConfig
from fedenvoy.devices import DeviceState
from fedenvoy.doctor.findings import Finding, fault, good, note, warning
from fedenvoy.errors import ConfigurationError, Exit, StoreError
from fedenvoy.monitor import gpu_sampler
from fedenvoy.store.filesystem import refuse_network
from fedenvoy.workspace.environments import RequirementsError
from fedenvoy.workspace.installer import uv_path

__all__ = ["look"]

_OLDEST_MOMENT = 1_760_000_000.0
"""Seconds since the epoch, in October 2025: this program is younger than that."""
_LITTLE = 5 * 2**30
"""Bytes; with less room than this a warning is due: an environment with OpenFL and torch takes as much."""
_NEWEST_OPENFL = (3, 12)
"""The newest Python that OpenFL 1.6 runs on."""
_TIME_ERROR = 5
"""What adjtimex(2) returns while nothing keeps the clock right."""


def look(site: Site, timeout: float) -> Iterator[Finding]:
    """Look at this machine.

    Args:
        site: The node's standing arrangements.
        timeout: Seconds that a program may take to tell its version.

    """
    yield _clock()
    yield from _state(site.node_dir, site.config)
    if site.installs:
        yield _uv(timeout)
    yield _interpreter(site.python, timeout)
    yield _isolation(site)
    if site.config.cuda_devices:
        yield from _gpus(site.config)


def _clock() -> Finding:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
    if now < _OLDEST_MOMENT:
        text = f"the clock says {shown} UTC, which has been: certificates will not be accepted; set it"
        return fault("clock", text, Exit.LINK)
    if _unsynchronised():
        return note("clock", f"it is {shown} UTC; the kernel says that nothing keeps the clock right (NTP)")
    return good("clock", f"it is {shown} UTC")


def _unsynchronised() -> bool:
    try:
        return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) == _TIME_ERROR)
    except (OSError, AttributeError):
        return False


def _state(directory: Path, config: NodeConfig) -> Iterator[Finding]:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        text = f"{directory} cannot be made or written: {there} does not allow it to this user"
        yield fault("state", f"{text}; name another place in agent.state_dir or --state-dir", Exit.STORE)
        return
    try:
        refuse_network(there)
    except StoreError as error:
        yield fault("state", str(error), Exit.STORE)
        return
    yield good("state", f"journal and runs are kept in {directory}")
    yield _room(there, config)


def _room(directory: Path, config: NodeConfig) -> Finding:
    free = shutil.disk_usage(directory).free
    archive = config.agent.archive
    largest = archive.max_bytes + archive.max_unpacked_bytes
    text = f"{free / 2**30:.1f} GiB are free where the state is kept"
    if free < _LITTLE:
        return warning("disk", f"{text}; an experiment with an environment of its own may need more")
    if largest and free < largest:
        return note("disk", f"{text}; agent.archive admits an experiment of {largest / 2**30:.1f} GiB")
    return good("disk", text)


def _uv(timeout: float) -> Finding:
    try:
        version = _said([uv_path(), "--version"], timeout)
    except (RequirementsError, OSError, subprocess.SubprocessError) as error:
        return fault("uv", f"requirements cannot be installed: {error}", Exit.CONFIGURATION)
    return good("uv", f"requirements are installed by {version}")


def _interpreter(python: Path, timeout: float) -> Finding:
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        version = _said([str(python), "-I", "-c", code], timeout)
    except (OSError, subprocess.SubprocessError) as error:
        text = f"the experiments' interpreter {python} does not run: {error}"
        return fault("python", f"{text}; correct agent.python", Exit.CONFIGURATION)
    text = f"experiments run on Python {version} ({python})"
    if tuple(map(int, version.split(".")[:2])) > _NEWEST_OPENFL:
        return warning("python", f"{text}, which is too new for OpenFL 1.6; name an older one in agent.python")
    return good("python", f"{text}; an archive must have been packed by the same minor version")


def _isolation(site: Site) -> Finding:
    """Try the level, as a start does."""
    try:
        found = site.confining.isolation()
    except ConfigurationError as error:
        return fault("isolation", str(error), Exit.CONFIGURATION)
    if found.level == "process" and site.config.agent.isolation is None:
        return warning("isolation", f"an experiment can do what this user can, and read the private key: {found.why}")
    return good("isolation", f"experiments run at the level {found}")


def _gpus(config: NodeConfig) -> Iterator[Finding]:
    """Read each GPU once, as the monitor does."""
    sampler = gpu_sampler(config)
    sampler.start()
    try:
        sampler.refresh(config.agent.gpu.deadline)
        report = sampler.report()
    finally:
        sampler.stop()
    if report.overdue:
        yield warning("GPU", "the driver does not answer; health checks will tell nothing of the GPUs")
    elif report.error:
        yield warning("GPU", f"{report.error}; the node works, and tells the director nothing of its GPUs")
    else:
        yield from map(_gpu, report.devices)


def _gpu(state: DeviceState) -> Finding:
    name = f"GPU {state.device} ({state.reading.name or 'of unknown name'})"
    if state.lost:
        return fault("GPU", f"{name} has fallen off the bus; the machine must be started anew", Exit.CONFIGURATION)
    if state.failures:
        told = "; ".join(f"{field}: {reason}" for field, reason in state.failures)
        return warning("GPU", f"{name}: {told}")
    missing = f"; it does not tell {', '.join(state.unsupported)}" if state.unsupported else ""
    return good("GPU", f"{name} has {state.reading.memory_total / 2**30:.1f} GiB{missing}")


def _said(command: list[str], timeout: float) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True).stdout.strip()
