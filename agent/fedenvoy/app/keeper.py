"""Writes the records, and ends the session when the disk stays full: a short shortage is not the end.

An experiment's archive or environment can fill the disk that the journal lies on; it is removed at once, but a record
may fall into that moment. The store then gives up a part of the room that it keeps back, and some seconds decide. The
other part stays for the end: what filled the disk may well take the first.
"""

from __future__ import annotations

import logging
import threading

from fedenvoy_statecharts import Event

from fedenvoy.commands import Record
from fedenvoy.events import Post, Problem
from fedenvoy.store import Store

__all__ = ["Keeper"]

logger = logging.getLogger(__name__)

GRACE = 5.0
"""Seconds that a shortage may last."""
PAUSE = 0.25
"""Seconds between two looks."""


class Keeper:
    """Stands between the owner thread and the store.

    Args:
        store: The store.
        post: Tells the owner thread.

    """

    def __init__(self, store: Store, post: Post) -> None:
        self._store = store
        self._post = post
        self._closed = threading.Event()
        self._watch: threading.Thread | None = None

    def keep(self, record: Record) -> None:
        """Write a record; for the owner thread.

        Raises:
            StoreError: Nothing of it was written.

        """
        self._store.append(record)
        if self._store.out_of_room:
            self._end()
        elif self._store.short_of_room and (self._watch is None or not self._watch.is_alive()):
            self._watch = threading.Thread(target=self._wait_for_room, name="fedenvoy-reserve", daemon=True)
            self._watch.start()

    def _wait_for_room(self) -> None:
        waited = 0.0
        while not self._store.regain():
            if self._closed.wait(PAUSE):
                return
            waited += PAUSE
            if waited >= GRACE:
                self._end()
                return
        logger.info("there is room for the journal again")

    def _end(self) -> None:
        text = "the disk that holds the journal is full"
        self._post(Problem(event=Event.STORE_FAILED, text=text, code="store"))

    def close(self) -> None:
        """Give up waiting for room."""
        self._closed.set()
        if self._watch is not None:
            self._watch.join()
