"""What survives a crash: the journal of transitions, the outbox of verdicts, and the memory of settled experiments."""

from fedenvoy.store.lock import StateLock
from fedenvoy.store.reading import JournalEntry, SessionEntry
from fedenvoy.store.sessions import LastSession
from fedenvoy.store.store import Store

__all__ = ["JournalEntry", "LastSession", "SessionEntry", "StateLock", "Store"]
