"""How a confined experiment reaches its aggregator: over a relay in this process, which alone has the certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import evolve

from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.engines.process import ChildResult
from fedenvoy.ports import Aggregator, RunSpec, TalkingEngine

if TYPE_CHECKING:
    from fedenvoy.app.run import Run
    from fedenvoy.app.site import Site
    from fedenvoy.relay import AggregatorRelay

__all__ = ["SOCKET", "reaching"]

SOCKET = "aggregator.sock"
"""Name of the relay's socket in a run's directory."""
_GONE = "aggregator"
"""The child's code for: the aggregator answers nothing."""

Start = Callable[[RunSpec, Cancel], ChildResult]
"""Runs the experiment's process to its end, or raises Cancelled."""


def reaching(site: Site, run: Run, spec: RunSpec, cancel: Cancel, start: Start) -> ChildResult:
    """Run an experiment's process with a way to its aggregator where it is confined, else as it is.

    A fault that the relay finds ends the process, and is the result.

    Args:
        site: Has the certificates.
        run: Has the engine and the approved plan.
        spec: What the process gets; where it is confined, it gets no certificates.
        cancel: Ends the process.
        start: Runs the process.

    Raises:
        Cancelled: When `cancel` was cancelled.

    """
    if spec.confinement is None or spec.confinement.level == "process":
        return start(spec, cancel)
    spec, fault = evolve(spec, tls=None), _Fault()
    try:
        aggregator = _aggregator(site, run)
        relay = None if aggregator is None else _relay(site, spec, aggregator, fault)
    except (ValueError, OSError) as error:
        return _not_here(str(error))
    if aggregator is None or relay is None:
        return start(spec, cancel)
    forget = cancel.on_cancel(fault.found.cancel)
    try:
        result = start(evolve(spec, relay=str(spec.run_dir / SOCKET), aggregator=str(aggregator)), fault.found)
    except Cancelled:
        cancel.raise_if_cancelled()
        return _not_here(fault.words)
    finally:
        forget()
        relay.stop()
    if result.code == _GONE and relay.trouble:
        words = f"{result.error}; {relay.trouble}"
        return evolve(result, error=words, summary=words)
    return result


class _Fault:
    """What the relay found, and the switch by which that ends the process; another `cancel` throws it, too."""

    def __init__(self) -> None:
        self.words = ""
        self.found = Cancel()

    def take(self, words: str) -> None:
        """Take what was found; called in the relay's thread."""
        self.words = words
        self.found.cancel()


def _aggregator(site: Site, run: Run) -> Aggregator | None:
    """Give whom the approved plan has the experiment talk to; raises ValueError where this node cannot."""
    assert run.files is not None
    engine: object = run.engine
    aggregator = engine.aggregator(run.files.plan) if isinstance(engine, TalkingEngine) else None
    if aggregator is not None and aggregator.tls and site.config.tls is None:
        raise ValueError(
            f"the plan's aggregator at {aggregator} expects TLS, and this node has no certificates: "
            f"start it with TLS, or turn TLS off for the whole federation"
        )
    return aggregator


def _relay(site: Site, spec: RunSpec, aggregator: Aggregator, fault: _Fault) -> AggregatorRelay:
    """Start a relay; raises OSError."""
    from fedenvoy.relay import AggregatorRelay  # noqa: PLC0415 - only a confined experiment needs one

    assert spec.confinement is not None
    uid, gid = spec.confinement.uid, spec.confinement.gid
    relay = AggregatorRelay(
        spec.run_dir / SOCKET,
        aggregator.host,
        aggregator.port,
        tls=site.config.tls if aggregator.tls else None,
        client_auth=aggregator.client_auth,
        owner=None if uid is None or gid is None else (uid, gid),
        environ=site.environ,
        on_fault=fault.take,
    )
    relay.start()
    return relay


def _not_here(words: str) -> ChildResult:
    return ChildResult(ok=False, error=words, code="environment", summary=words)
