"""What this node tells about its data, and how an experiment gets at it. Replace the example with your own data.

Any class with these four members will do; a subclass of OpenFL's ShardDescriptor works as it is. It is constructed in
the processes of experiments only, with the arguments in envoy_config.yaml, while this directory is the current one.
"""

from __future__ import annotations

import math


class ExampleDataset:
    """Points near a line, as pairs of (sample, target)."""

    def __init__(self, points: list[tuple[list[float], list[float]]]) -> None:
        self._points = points

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> tuple[list[float], list[float]]:
        return self._points[index]


class ExampleShard:
    """A shard of made-up data: y = slope x + 1, and a wave that stands for noise."""

    def __init__(self, samples: int = 100, slope: float = 2.0) -> None:
        inputs = [index / samples for index in range(samples)]
        self._points = [([x], [slope * x + 1 + 0.1 * math.sin(1000 * x)]) for x in inputs]

    @property
    def sample_shape(self) -> list[str]:
        """Shape of one sample; the director compares it with its own configuration."""
        return ["1"]

    @property
    def target_shape(self) -> list[str]:
        """Shape of one target; compared likewise."""
        return ["1"]

    @property
    def dataset_description(self) -> str:
        """A sentence for the people who plan experiments."""
        return f"Example shard: {len(self._points)} points near a line"

    def get_dataset(self, dataset_type: str) -> ExampleDataset:
        """Give the part for `train` (four fifths) or `val` (the rest)."""
        border = len(self._points) * 4 // 5
        parts = {"train": self._points[:border], "val": self._points[border:]}
        if dataset_type not in parts:
            raise ValueError(f"dataset_type is {dataset_type!r}, expected train or val")
        return ExampleDataset(parts[dataset_type])
