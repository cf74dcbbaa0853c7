"""fedenvoy: a headless federated-learning node agent; a drop-in for OpenFL's Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedenvoy_statecharts import __version__

if TYPE_CHECKING:
    from fedenvoy.envoy import Envoy

__all__ = ["Envoy", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the class on first use, so that reading the version or a chart does not load gRPC."""
    if name == "Envoy":
        from fedenvoy.envoy import Envoy  # noqa: PLC0415

        return Envoy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
