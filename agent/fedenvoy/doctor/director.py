"""What answers at the director's address, and whether it would take this shard."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from fedenvoy.app.site import Site
from fedenvoy.calls import CallError
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.config import NodeConfig
from fedenvoy.doctor.findings import Finding, fault, good, note, warning
from fedenvoy.errors import Exit, FedenvoyError, ShardError
from fedenvoy.events import ShardDescription
from fedenvoy.link.survey import OPENFL_16, Survey, survey

__all__ = ["OPENFL_16", "ask", "compare", "describe"]


def ask(config: NodeConfig) -> tuple[Finding, Survey | None]:
    """Ask who answers."""
    try:
        found = survey(config.director, config.tls, config.agent.link)
    except CallError as error:
        return fault("director", error.text, Exit.LINK), None
    if found.protocol == OPENFL_16:
        return good("director", f"it speaks the protocol of {found.protocol}, as this node does"), found
    if found.protocol:
        return fault(
            "director", f"it speaks the protocol of {found.protocol}, which this node does not", Exit.LINK
        ), found
    return fault(
        "director", "a gRPC server answers that is no director of OpenFL; check the port (-dp)", Exit.LINK
    ), found


def describe(site: Site, timeout: float) -> tuple[Finding, ShardDescription | None]:
    """Construct the shard descriptor in a process of its own, as a node does when it starts.

    Args:
        site: The node's standing arrangements.
        timeout: Seconds that it may take.

    """
    cancel = Cancel()
    clock = threading.Timer(timeout, cancel.cancel)
    clock.daemon = True
    clock.start()
    try:
        shard = site.describe(cancel)
    except Cancelled:
        text = (
            f"the shard descriptor is not constructed within {timeout:g} s; a node would wait for as long as it takes"
        )
        return warning("shard", text), None
    except ShardError as error:
        return fault("shard", str(error), Exit.SHARD), None
    except FedenvoyError as error:
        return fault("shard", str(error), error.exit_code), None
    finally:
        clock.cancel()
    shapes = f"samples of {_shape(shard.sample_shape)}, targets of {_shape(shard.target_shape)}"
    return good("shard", f"the shard descriptor gives {shapes}"), shard


def compare(shard: ShardDescription, wanted: Survey) -> Iterator[Finding]:
    """Say whether the director will accept a shard: it does where both shapes are its own, text for text."""
    if not wanted.sample_shape and not wanted.target_shape:
        yield note("shapes", "the director does not tell which shapes it accepts")
        return
    pairs = (
        ("samples", shard.sample_shape, wanted.sample_shape),
        ("targets", shard.target_shape, wanted.target_shape),
    )
    wrong = [
        f"{what} of {_shape(ours)} where it wants {_shape(theirs)}" for what, ours, theirs in pairs if ours != theirs
    ]
    if wrong:
        text = f"the director will not accept this shard: it has {' and '.join(wrong)}; make the shapes agree"
        yield fault("shapes", text, Exit.REFUSED)
    else:
        yield good("shapes", "they are the ones that the director wants")


def _shape(shape: tuple[str, ...]) -> str:
    return f"[{', '.join(shape)}]"
