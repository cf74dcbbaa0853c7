"""Shard descriptors for the tests: importable, importing nothing heavy."""

from __future__ import annotations

from pathlib import Path


class NumbersShard:
    """Eight numbers in, one number out."""

    def __init__(self, rank: int = 1) -> None:
        self.rank = rank
        self.constructed_in = Path.cwd()

    @property
    def sample_shape(self) -> list[str]:
        return ["8"]

    @property
    def target_shape(self) -> list[str]:
        return ["1"]

    @property
    def dataset_description(self) -> str:
        return f"numbers of node {self.rank}, größer als nichts"

    def get_dataset(self, dataset_type: str = "train") -> list[int]:
        return list(range(self.rank, self.rank + 8))


class BrokenShard:
    """Cannot be constructed."""

    def __init__(self) -> None:
        raise FileNotFoundError("the data directory /data/scans does not exist")
