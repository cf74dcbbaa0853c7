"""The experiment: a small neural network learns to read digits. Travels to the nodes inside the archive."""

# ruff: noqa: INP001 - a file that is copied, never a module of this package
# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.neural_network import MLPClassifier


def train(shard_descriptor: Any, devices: Sequence[Any], plan: Mapping[str, Any]) -> dict[str, float]:  # noqa: ARG001
    """Train on the node's images; give the accuracy on those held out (0 to 1) and how many there were of each."""
    params = plan["callable"]["params"]
    images, digits = shard_descriptor.get_dataset("train")
    others, answers = shard_descriptor.get_dataset("val")
    network = MLPClassifier(
        hidden_layer_sizes=(params["neurons"],), max_iter=params["epochs"], random_state=0, verbose=True, tol=0
    )
    network.fit(images, digits)
    return {
        "accuracy": float(network.score(others, answers)),
        "trained_on": float(len(digits)),
        "held_out": float(len(answers)),
    }
