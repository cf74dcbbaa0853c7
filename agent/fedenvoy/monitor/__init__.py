"""What watches: the director, through health checks, and the GPUs, through NVML or the site's own monitor.

Each part has a thread of its own, so that a driver that hangs never delays a health check.
"""

from __future__ import annotations

from fedenvoy.config import NodeConfig
from fedenvoy.monitor.detector import FailureDetector, Finding
from fedenvoy.monitor.health import HealthMonitor
from fedenvoy.monitor.nvml import NvmlProbe
from fedenvoy.monitor.plugin import load_probe, probe_factory
from fedenvoy.monitor.sampler import GpuSampler

__all__ = [
    "FailureDetector",
    "Finding",
    "GpuSampler",
    "HealthMonitor",
    "NvmlProbe",
    "gpu_sampler",
    "load_probe",
    "probe_factory",
]


def gpu_sampler(config: NodeConfig) -> GpuSampler:
    """Build the sampler that a configuration asks for; not started, and without devices it never does anything.

    Raises:
        ConfigurationError: The template of `cuda_device_monitor` names nothing usable.

    """
    agent = config.agent
    factory = probe_factory(config.cuda_device_monitor, agent.home) if config.cuda_devices else NvmlProbe
    return GpuSampler(factory, config.cuda_devices, agent.gpu.interval, deadline=agent.gpu.deadline)
