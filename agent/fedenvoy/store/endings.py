"""How a session ended, read from its last record: the word for it, and the exit code that went with it."""

from __future__ import annotations

from fedenvoy_statecharts import LIFECYCLE, Effect, State

from fedenvoy.errors import Exit

__all__ = ["KILLED", "STOPPED", "how_ended"]

STOPPED, KILLED = "stopped", "killed"
_ENDS = {
    Effect.END_STOPPED: (STOPPED, Exit.OK),
    Effect.END_ABORTED: ("aborted", Exit.ABORTED),
    Effect.END_SHARD: ("shard", Exit.SHARD),
    Effect.END_REFUSED: ("refused", Exit.REFUSED),
    Effect.END_LINK: ("link", Exit.LINK),
    Effect.END_STORE: ("store", Exit.STORE),
}


def how_ended(source: str | None, event: str) -> tuple[str, int]:
    """Give word and exit code of a session whose last record leads from `source` to the end by `event`.

    A record of an older table that no row fits any more counts as a stop.
    """
    for row in LIFECYCLE.rows:
        if (row.source.value, row.event.value, row.goal) == (source, event, State.STOPPED):
            for effect in row.effects:
                if isinstance(effect, Effect) and effect in _ENDS:
                    word, code = _ENDS[effect]
                    return word, int(code)
    return STOPPED, int(Exit.OK)
