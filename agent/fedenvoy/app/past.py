"""What earlier sessions left: opens the store, closes a session that did not end, and gives what is carried over."""

from __future__ import annotations

import logging
from pathlib import Path

from fedenvoy.config import AgentSettings
from fedenvoy.core import CarriedOver
from fedenvoy.logs import bounded
from fedenvoy.store import LastSession, Store

__all__ = ["carried_over", "open_store"]

logger = logging.getLogger(__name__)

_VERDICT = "the agent on this node ended unexpectedly while it had this experiment in hand"
_LONGEST_NAME = 100


def open_store(settings: AgentSettings, node_dir: Path, session: str) -> Store:
    """Open the store, and begin a session in it. Nothing of an earlier session's runs may be left by then.

    Raises:
        StoreError: It cannot be opened or written.

    """
    store = Store(node_dir, session=session, settings=settings.journal)
    try:
        verdict = ""
        if settings.on_interrupted == "fail":
            verdict = "failed on this node (interrupted)" if settings.report.detail == "code" else _VERDICT
        last = store.begin(verdict=verdict)
    except BaseException:
        store.close()
        raise
    if last is not None:
        _tell(last)
    return store


def _tell(last: LastSession) -> None:
    how = "did not end (killed, or a power cut)" if last.ended == "killed" else f"ended otherwise ({last.ended})"
    if not last.experiment:
        what = "it had no experiment in hand"
    elif last.told:
        what = "the director will be told that %r failed"
    else:
        what = "%r, which it had in hand, is taken up when it is offered again"
    arguments = (bounded(last.experiment, _LONGEST_NAME),) if last.experiment else ()
    logger.warning(f"the last session (%s) {how}: {what}", last.id, *arguments)  # noqa: G004 - our own words


def carried_over(store: Store) -> CarriedOver:
    """Give what the core takes over from earlier sessions."""
    return CarriedOver(store.reports(), store.settled(), store.paused())
