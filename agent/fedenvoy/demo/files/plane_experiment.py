"""The experiment: fits a plane by gradient descent, in NumPy alone. Travels to the nodes inside the archive.

A model is a dictionary of arrays. Nothing is random, so that two federations with the same shards end with the same
weights.
"""

# ruff: noqa: INP001 - a file that is copied, never a module of this package
# mypy: disable-error-code="import-not-found,import-untyped,misc,unused-ignore"

from __future__ import annotations

from typing import Any

import numpy as np
from openfl.interface.interactive_api.experiment import DataInterface
from openfl.plugins.frameworks_adapters.framework_adapter_interface import FrameworkAdapterPluginInterface

STEPS = 10
RATE = 0.05


def initial_model() -> dict[str, Any]:
    """Give the weights of round zero."""
    return {"slopes": np.zeros((4, 1), np.float32), "offset": np.zeros((1,), np.float32)}


class Adapter(FrameworkAdapterPluginInterface):
    """Tells OpenFL how to read and write the weights of a model."""

    @staticmethod
    def get_tensor_dict(model: dict[str, Any], optimizer: object = None) -> dict[str, Any]:  # noqa: ARG004
        """Copy the weights out."""
        return {name: np.array(value) for name, value in model.items()}

    @staticmethod
    def set_tensor_dict(
        model: dict[str, Any],
        tensor_dict: dict[str, Any],
        optimizer: object = None,  # noqa: ARG004
        device: str = "cpu",  # noqa: ARG004
    ) -> None:
        """Copy the weights in."""
        model.update({name: np.array(value) for name, value in tensor_dict.items() if name in model})


class Loader(DataInterface):
    """Hands a node's own shard to the tasks."""

    @property
    def shard_descriptor(self) -> Any:
        """The descriptor of the node this runs on."""
        return self._shard_descriptor

    @shard_descriptor.setter
    def shard_descriptor(self, descriptor: Any) -> None:
        self._shard_descriptor = descriptor
        self.training = descriptor.get_dataset("train")
        self.validation = descriptor.get_dataset("val")

    def get_train_loader(self, **_: Any) -> Any:
        """Give the points to train on."""
        return self.training

    def get_valid_loader(self, **_: Any) -> Any:
        """Give the points held out."""
        return self.validation

    def get_train_data_size(self) -> int:
        """Give this node's weight in the average of trainings."""
        return len(self.training)

    def get_valid_data_size(self) -> int:
        """Give this node's weight in the average of validations."""
        return len(self.validation)


def error(model: dict[str, Any], data: Any) -> Any:
    """Give the signed error of every point."""
    return data.points @ model["slopes"] + model["offset"] - data.heights


def train(model: dict[str, Any], data: Any) -> dict[str, float]:
    """Improve the model in place by a few steps; give its mean squared error on the training points."""
    for _ in range(STEPS):
        slope = 2 * error(model, data) / len(data)
        model["slopes"] = model["slopes"] - np.float32(RATE) * (data.points.T @ slope)
        model["offset"] = model["offset"] - np.float32(RATE) * slope.sum(axis=0)
    return {"mse": float((error(model, data) ** 2).mean())}


def validate(model: dict[str, Any], data: Any) -> dict[str, float]:
    """Give the model's mean squared error on the points held out."""
    return {"mse": float((error(model, data) ** 2).mean())}
