"""The published test kit: real parts to test an agent, or a federation's own code, against.

Each name is imported on first use, so that a clock does not cost a gRPC server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedenvoy.testing.certs import Pem, ThrowawayAuthority
    from fedenvoy.testing.clock import ManualClock
    from fedenvoy.testing.faults import Held
    from fedenvoy.testing.recording import RecordedCall
    from fedenvoy.testing.relay import Relay
    from fedenvoy.testing.sandbox import SandboxDirector

__all__ = ["Held", "ManualClock", "Pem", "RecordedCall", "Relay", "SandboxDirector", "ThrowawayAuthority"]

_MODULES = {
    "Held": "faults",
    "ManualClock": "clock",
    "Pem": "certs",
    "RecordedCall": "recording",
    "Relay": "relay",
    "SandboxDirector": "sandbox",
    "ThrowawayAuthority": "certs",
}


def __getattr__(name: str) -> Any:
    """Import a name of the kit."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
