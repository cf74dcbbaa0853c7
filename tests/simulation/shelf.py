"""Machines used again: building one takes longer than a whole session in simulation, setting one back takes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from fedenvoy.core import core
from fedenvoy.machine import LifecycleMachine
from fedenvoy_statecharts import LIFECYCLE, Chart

__all__ = ["machines_used_again"]


@contextmanager
def machines_used_again() -> Iterator[None]:
    """Let every core in a block get the same real machine, set back to its beginning; one core lives at a time."""
    with patch.object(core, "LifecycleMachine", _take):
        yield


_SHELF: dict[int, LifecycleMachine] = {}


def _take(chart: Chart = LIFECYCLE) -> LifecycleMachine:
    machine = _SHELF.get(id(chart))
    if machine is None:
        machine = _SHELF[id(chart)] = LifecycleMachine(chart)
    machine._model.state = chart.initial.target.value
    machine._model.taken = None
    return machine
