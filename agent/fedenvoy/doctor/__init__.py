"""Examines a node before it is started, or when it does not work: each step of a start, in words.

Nothing is written, nothing is registered, and no experiment is taken; the shard descriptor is constructed once, in a
process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fedenvoy.config import UNNAMED, NodeConfig
from fedenvoy.doctor.findings import Finding, Level

__all__ = ["examine"]


def examine(
    config: NodeConfig, environ: Mapping[str, str], *, timeout: float, describe: bool = True, only_reach: bool = False
) -> Iterator[Finding]:
    """Look at everything, in the order in which a node would meet it.

    Args:
        config: The node's configuration, which could be read.
        environ: The environment variables.
        timeout: Seconds that each step on the network may take.
        describe: Whether the shard descriptor is constructed.
        only_reach: Whether to stop where a connection to the director was made: the certificates cannot be used.

    """
    from fedenvoy.app.site import Site  # noqa: PLC0415 - one command of many
    from fedenvoy.doctor import certificates, director, machine, network  # noqa: PLC0415

    # Nobody is asked about an experiment here; a site that wants somebody asked would else seem to have no one.
    site = Site(config, session="doctor", review=lambda *_: False, environ=environ)
    yield from machine.look(site, timeout)
    shard = None
    if describe:
        finding, shard = director.describe(site, max(timeout, _PATIENCE))
        yield finding
    if config.tls is not None:
        yield from certificates.look(config.tls, None if config.shard_name == UNNAMED else config.shard_name)
    way = list(
        network.look(
            config.director,
            config.tls,
            environ,
            proxy=config.agent.link.proxy,
            timeout=timeout,
            only_reach=only_reach,
        )
    )
    yield from way
    if only_reach or any(finding.level is Level.FAULT for finding in way):
        return  # the director would only say the same again, in gRPC's words
    finding, found = director.ask(config)
    yield finding
    if shard is not None and found is not None and found.protocol == director.OPENFL_16:
        yield from director.compare(shard, found)


_PATIENCE = 60.0
"""Seconds that a shard descriptor may take at least; some read their whole data set."""
