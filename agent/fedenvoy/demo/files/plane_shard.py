"""The data of one site: points near a plane, drawn from a seed of the site's own.

Lives on the node and never leaves it. NumPy is imported only when the data is asked for, so that describing the shard
needs nothing but Python.
"""

# ruff: noqa: INP001 - a file that is copied, never a module of this package
# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

from typing import Any

SLOPES = (3.0, -2.0, 0.5, 1.0)
OFFSET = 4.0


class PlaneDataset:
    """Points and their heights, as the experiment's loader takes them."""

    def __init__(self, points: Any, heights: Any) -> None:
        self.points = points
        self.heights = heights

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.points[index], self.heights[index]


class PlaneShard:
    """A shard descriptor: what the director is told of the data, and the data itself.

    Args:
        seed: Decides the points; each site has another.
        samples: How many points there are; a fifth of them is held out.

    """

    def __init__(self, seed: int = 0, samples: int = 200) -> None:
        self.seed = int(seed)
        self.samples = int(samples)

    @property
    def sample_shape(self) -> list[str]:
        """One point has four coordinates."""
        return ["4"]

    @property
    def target_shape(self) -> list[str]:
        """One height."""
        return ["1"]

    @property
    def dataset_description(self) -> str:
        """Say what this is."""
        return f"{self.samples} points near a plane"

    def get_dataset(self, dataset_type: str = "train") -> PlaneDataset:
        """Give the points to train on ("train") or the ones held out."""
        import numpy as np  # noqa: PLC0415 - see the module's docstring

        random = np.random.default_rng(self.seed)
        points = random.normal(size=(self.samples, 4))
        noise = 0.05 * random.normal(size=self.samples)
        heights = (points @ np.array(SLOPES) + OFFSET + noise).reshape(-1, 1)
        cut = self.samples * 4 // 5
        part = slice(None, cut) if dataset_type == "train" else slice(cut, None)
        return PlaneDataset(points[part].astype(np.float32), heights[part].astype(np.float32))
