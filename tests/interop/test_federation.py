"""Federations of the real OpenFL 1.6: its director and aggregator, with its own envoys and with fedenvoy's nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fedenvoy.demo.federation import Outcome

if TYPE_CHECKING:
    from fedenvoy.config import TlsFiles
    from interop.conftest import Ended, Start

PATH = ("Disconnected", "Registered", "Idle", "ReviewingPlan", "Training", "Reporting", "Idle")
"""The way of a node without requirements to install."""

NAMES = {"hospital-a", "hospital-b"}


def test_the_original_envoys_learn_the_plane(side_by_side: tuple[Ended, Ended]) -> None:
    """The yardstick itself: the experiment learns something, and both envoys were in it."""
    outcome = side_by_side[0].outcome
    assert outcome.status == "finished"
    assert outcome.weights["slopes"] == pytest.approx([3.0, -2.0, 0.5, 1.0], abs=0.5)
    assert {metric["metric_origin"] for metric in outcome.metrics} == {"aggregator", *NAMES}


def test_two_nodes_end_with_the_weights_of_two_original_envoys(side_by_side: tuple[Ended, Ended]) -> None:
    """The agent needs nothing of OpenFL: it runs beside today's gRPC, and the experiment in OpenFL's environment."""
    original, ours = side_by_side
    same_weights(ours.outcome, original.outcome)
    assert {name: view.path for name, view in ours.views.items()} == dict.fromkeys(NAMES, (*PATH, "Stopped"))
    assert ours.exit_codes == dict.fromkeys(NAMES, 0)


def test_with_mutual_tls_and_one_environment_for_all(
    federation: Start,
    certificates: Mapping[str, TlsFiles],
    shared_python: Path,
    side_by_side: tuple[Ended, Ended],
) -> None:
    """`fedenvoy[openfl]` beside `openfl==1.6` in one environment takes part, with a certificate for every name."""
    group = federation(certificates)
    for name in NAMES:
        group.node(name, python=shared_python)
    same_weights(group.outcome(group.submit()), side_by_side[0].outcome)
    for name in NAMES:
        assert group.wait(name, lambda view: view.done).path == PATH


def same_weights(one: Outcome, other: Outcome) -> None:
    """Check that two finished experiments ended with the same weights."""
    assert one.status == other.status == "finished"
    assert one.weights.keys() == other.weights.keys()
    for name, values in other.weights.items():
        assert one.weights[name] == pytest.approx(values, rel=1e-6), name
