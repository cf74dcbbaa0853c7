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
    from fedenvoy.testing.paths import Facts, Step
    from fedenvoy.testing.payloads import messages
    from fedenvoy.testing.plan import plans
    from fedenvoy.testing.recording import RecordedCall
    from fedenvoy.testing.relay import Relay
    from fedenvoy.testing.rows import RowCase, every_row, row_cases
    from fedenvoy.testing.sandbox import SandboxDirector
    from fedenvoy.testing.trace import Trace, traces
    from fedenvoy.testing.walk import ChartWalk

__all__ = [
    "ChartWalk",
    "Facts",
    "Held",
    "ManualClock",
    "Pem",
    "RecordedCall",
    "Relay",
    "RowCase",
    "SandboxDirector",
    "Step",
    "ThrowawayAuthority",
    "Trace",
    "every_row",
    "messages",
    "plans",
    "row_cases",
    "traces",
]

_MODULES = {
    "ChartWalk": "walk",
    "Facts": "paths",
    "Held": "faults",
    "ManualClock": "clock",
    "Pem": "certs",
    "RecordedCall": "recording",
    "Relay": "relay",
    "RowCase": "rows",
    "SandboxDirector": "sandbox",
    "Step": "paths",
    "ThrowawayAuthority": "certs",
    "Trace": "trace",
    "every_row": "rows",
    "messages": "payloads",
    "plans": "plan",
    "row_cases": "rows",
    "traces": "trace",
}


def __getattr__(name: str) -> Any:
    """Import a name of the kit."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
