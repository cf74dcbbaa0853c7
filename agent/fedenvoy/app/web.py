"""A node's pages for monitoring systems, where `agent.http.listen` asks for them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from fedenvoy_statecharts import Event

from fedenvoy.app.control import facts
from fedenvoy.commands import Record, Report
from fedenvoy.control.places import Place
from fedenvoy.web.children import descendants_use
from fedenvoy.web.server import Page, WebServer
from fedenvoy.web.tally import Tally

if TYPE_CHECKING:
    from fedenvoy.app.node import Node
    from fedenvoy.web.exposition import Exposition

__all__ = ["STUCK", "Web"]

logger = logging.getLogger(__name__)

STUCK = 60.0
"""Seconds after which a step of the owner that has not ended counts as one that will not: `/healthz` turns red."""
_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Web:
    """The server, its pages and the counters behind them.

    Args:
        node: Whose.
        directory: Its state directory.
        waiting: Reports that earlier sessions left.

    Raises:
        ConfigurationError: Nobody can listen at the address.

    """

    def __init__(self, node: Node, directory: Path, waiting: Sequence[Report]) -> None:
        self._node = node
        self._place = Place(directory, node.config.shard_name, node.config.director.target)
        self._tally = Tally(waiting)
        self._exposition: Exposition | None = None
        listen = node.config.agent.http.listen
        assert listen is not None
        pages = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._ready,
            "/status.json": self._status,
        }
        self._server = WebServer(*listen, pages)
        logger.info(
            "pages for monitoring are at http://%s:%d", f"[{listen[0]}]" if ":" in listen[0] else listen[0], listen[1]
        )

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop()

    def note(self, record: Record) -> None:
        """Count a step; called by the owner thread."""
        checked = record.event is Event.HEALTH_CHECKED
        self._tally.note(record, self._node.snapshot.latency if checked else None)

    def _metrics(self) -> Page:
        if self._exposition is None:
            from fedenvoy.web.exposition import Exposition  # noqa: PLC0415 - loads prometheus_client

            config = self._node.config
            self._exposition = Exposition(
                facts=lambda: facts(self._node),
                counts=self._tally.counts,
                use=descendants_use,
                labels={"shard": config.shard_name, "director": config.director.target},
                gpu_report=lambda: self._node.gpus,
                expiries=self._node.certificate_ends,
            )
        return Page(self._exposition.text(), _METRICS)

    def _health(self) -> Page:
        busy = self._node.busy_for
        if busy > STUCK:
            text = f"the owner thread has been at one step for {busy:.0f} s\n"
            return Page(text.encode("ascii"), status=HTTPStatus.SERVICE_UNAVAILABLE)
        return Page(b"ok\n")

    def _ready(self) -> Page:
        """Tell whether the director takes this node for online: it heard of it within twice the period."""
        snapshot = self._node.snapshot
        valid = 2 * snapshot.period
        ago = None if snapshot.contact is None else time.monotonic() - snapshot.contact
        if snapshot.link_up and ago is not None and ago <= valid:
            return Page(f"ready: {snapshot.state}\n".encode("ascii"))
        last = "it never was" if ago is None else f"it was {ago:.0f} s ago"
        text = f"not ready: {snapshot.state}; the director must have been reached within {valid:g} s, and {last}\n"
        return Page(text.encode("ascii"), status=HTTPStatus.SERVICE_UNAVAILABLE)

    def _status(self) -> Page:
        from fedenvoy.status import status  # noqa: PLC0415 - only when it is asked for

        return Page(json.dumps(status(self._place).as_dict(), indent=2).encode(), _JSON)
