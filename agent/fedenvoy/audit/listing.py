"""The records as a text for people: sessions as headings, one line a record, its words below it. Times are in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from fedenvoy.audit.decisions import DECISIONS
from fedenvoy.audit.moments import iso, moment
from fedenvoy.logs import bounded, escape
from fedenvoy.store import JournalEntry, SessionEntry

__all__ = ["listing", "safe"]

_WIDTH = 118
_MARGIN = 14
_LONGEST = 1200


def safe(text: str, limit: int = 200) -> str:
    """Give text that prints as itself on every terminal, and not at any length."""
    return bounded(escape(text), limit)


def listing(entries: Iterable[JournalEntry], sessions: dict[str, SessionEntry]) -> Iterator[str]:
    """Give the lines of the table."""
    session = day = ""
    for entry in entries:
        if entry.session != session:
            session, day = entry.session, ""
            yield from _heading(sessions.get(session), session)
        at = iso(entry.at)
        if at[:10] != day:
            day = at[:10]
            yield f"  {day}"
        name = f"  '{safe(entry.experiment)}'" if entry.experiment else ""
        yield f"  {at[11:23]}{entry.number:>6}  {_step(entry):42} {entry.event}{name}"
        yield from _words(entry)


def _heading(told: SessionEntry | None, session: str) -> Iterator[str]:
    yield ""
    if told is None:
        yield f"session {safe(session)}"
        return
    version = f", version {safe(told.software)}" if told.software else ""
    end = "it goes on" if told.ended_at is None else f"{safe(told.ended)} {moment(told.ended_at)}"
    hand = f" with '{safe(told.experiment)}' in hand" if told.experiment else ""
    yield f"session {safe(session)}{version}: began {moment(told.began_at)}, {end}{hand}"


def _step(entry: JournalEntry) -> str:
    if entry.source is None:
        return safe(f"* -> {entry.target}", 42)
    if entry.internal:
        return safe(f"in {entry.target}", 42)
    return safe(f"{entry.source} -> {entry.target}", 42)


def _words(entry: JournalEntry) -> Iterator[str]:
    parts = []
    if entry.cause and entry.cause != repr(entry.experiment):
        parts.append(safe(entry.cause, _LONGEST))
    if entry.outcome:
        parts.append(f"the verdict left this node: {safe(entry.outcome)}")
    if entry.event == "experiment_offered" and not entry.internal and entry.run:
        parts.append(f"run {safe(entry.session)}-{entry.run}")
    if entry.digest and entry.event in DECISIONS:
        parts.append(f"archive {safe(entry.digest)}")
    for part in parts:
        margin = " " * _MARGIN
        yield from wrap(part, _WIDTH, initial_indent=margin, subsequent_indent=f"{margin}  ", break_on_hyphens=False)
