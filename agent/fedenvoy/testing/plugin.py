"""Teaches Hypothesis the agent's types: `st.from_type(Event)`, `st.from_type(Message)` work once both are installed.

Loaded by Hypothesis itself, through the entry-point group `hypothesis`, when somebody imports Hypothesis; so it must be
quick, and it may load nothing of the agent but its vocabulary. Types are all that is registered.
"""

from __future__ import annotations

from fedenvoy_statecharts import LIFECYCLE, Condition, Effect, Event, Guard, Row, Scope, State
from hypothesis import strategies as st

from fedenvoy.events import DeviceReading, Message, Scopes, ShardDescription
from fedenvoy.testing.payloads import PAYLOADS, descriptions, messages, numbers, readings

__all__ = ["register"]


def register() -> None:
    """Register a strategy for each type; what Hypothesis calls."""
    for words in (Event, State, Guard, Effect, Scope):
        st.register_type_strategy(words, st.sampled_from(words))
    st.register_type_strategy(Row, st.sampled_from(LIFECYCLE.rows))
    st.register_type_strategy(Condition, st.builds(Condition, st.sampled_from(Guard), st.booleans()))
    st.register_type_strategy(Scopes, numbers())
    st.register_type_strategy(ShardDescription, descriptions())
    st.register_type_strategy(DeviceReading, readings())
    st.register_type_strategy(Message, messages())
    for kind in set(PAYLOADS.values()):
        events = [event for event, one in PAYLOADS.items() if one is kind]
        st.register_type_strategy(kind, st.sampled_from(events).flatmap(messages))
