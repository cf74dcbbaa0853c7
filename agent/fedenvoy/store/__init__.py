"""What survives a crash: the journal of transitions, the outbox of verdicts, and the memory of settled experiments."""

from fedenvoy.store.lock import StateLock
from fedenvoy.store.store import JournalEntry, Store

__all__ = ["JournalEntry", "StateLock", "Store"]
