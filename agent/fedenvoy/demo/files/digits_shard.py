"""The data of one site: every second of the handwritten digits that come with scikit-learn.

Lives on the node and never leaves it. scikit-learn is imported only when the data is asked for, because it comes in
with the experiment's requirements: the node itself does without.
"""

# ruff: noqa: INP001 - a file that is copied, never a module of this package
# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

from typing import Any


class DigitsShard:
    """A shard descriptor: what the director is told of the data, and the data itself.

    Args:
        part: 0 or 1, for the even or the odd images.

    """

    def __init__(self, part: int) -> None:
        self.part = int(part)

    @property
    def sample_shape(self) -> list[str]:
        """One image is eight by eight."""
        return ["8", "8"]

    @property
    def target_shape(self) -> list[str]:
        """One digit."""
        return ["1"]

    @property
    def dataset_description(self) -> str:
        """What this is."""
        return f"half of scikit-learn's handwritten digits ({'odd' if self.part else 'even'} numbers)"

    def get_dataset(self, dataset_type: str = "train") -> tuple[Any, Any]:
        """Give images as rows of 64 brightnesses from 0 to 1, and their digits.

        Every fourth image is held out; the others are there to train on ("train").
        """
        from sklearn.datasets import load_digits  # noqa: PLC0415 - see the module's docstring

        images, digits = load_digits(return_X_y=True)
        images, digits = images[self.part :: 2] / 16.0, digits[self.part :: 2]
        chosen = [number for number in range(len(digits)) if (number % 4 != 3) is (dataset_type == "train")]
        return images[chosen], digits[chosen]
