"""A shard descriptor as OpenFL's users write them: a subclass of OpenFL's class, with NumPy imported at the top."""

# A file that is copied, never a module of this package.
# mypy: disable-error-code="import-not-found,import-untyped,misc,unused-ignore"

from __future__ import annotations

from typing import Any

import numpy as np
from openfl.interface.interactive_api.shard_descriptor import ShardDataset, ShardDescriptor


class Points(ShardDataset):
    """Points and their heights."""

    def __init__(self, points: Any, heights: Any) -> None:
        self.points = points
        self.heights = heights

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.points[index], self.heights[index]


class NumpyShard(ShardDescriptor):
    """Points on a plane, made when the descriptor is constructed."""

    def __init__(self, samples: int = 200) -> None:
        random = np.random.default_rng(1)
        self.points = random.normal(size=(samples, 4)).astype(np.float32)
        self.heights = self.points @ np.array([[3.0], [-2.0], [0.5], [1.0]], np.float32) + np.float32(4)

    @property
    def sample_shape(self) -> list[str]:
        return ["4"]

    @property
    def target_shape(self) -> list[str]:
        return ["1"]

    @property
    def dataset_description(self) -> str:
        return f"{len(self.points)} points on a plane"

    def get_dataset(self, dataset_type: str = "train") -> Points:
        cut = len(self.points) * 4 // 5
        part = slice(None, cut) if dataset_type == "train" else slice(cut, None)
        return Points(self.points[part], self.heights[part])
