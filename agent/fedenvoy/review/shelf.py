"""Where what waits for people lies on the disk: for each experiment's name a small file, and one with what is shown.

A restart finds it again. An experiment's name is never part of a path. Knows nothing of who decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import asdict, fields_dict

from fedenvoy.review.files import private_directory, read_json, write_json
from fedenvoy.review.held import APPROVED, Held, Vote

__all__ = ["APPROVAL_KEPT", "MOST", "Shelf", "key"]

MOST = 100
"""Experiments that are kept; the oldest leave first."""
APPROVAL_KEPT = 30 * 24 * 3600.0
"""Seconds after which an approval that no run has used is forgotten."""
_FORMAT = 1
_SHOWN = ".shown"


def key(experiment: str) -> str:
    """Give what stands for a name in a path."""
    return hashlib.sha256(experiment.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Shelf:
    """The files of one node. Not thread-safe.

    Args:
        directory: Where they lie; made when there is something to write.
        clock: Gives wall-clock seconds.

    """

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock

    def all(self, in_hand: str = "") -> tuple[Held, ...]:
        """Give everything that is there, oldest first; what is over is removed.

        Args:
            in_hand: The name of what the node waits for at this moment, which is left alone.

        """
        found = []
        for path in sorted(self._directory.glob("*.json")):
            held = _held(read_json(path))
            if held is None or (self._over(held) and held.experiment != in_hand):
                path.unlink(missing_ok=True)
                path.with_suffix(_SHOWN).unlink(missing_ok=True)
            else:
                found.append(held)
        found.sort(key=lambda held: held.since)
        return tuple(found)

    def get(self, experiment: str) -> Held | None:
        """Give what is there under a name, whether or not its time is over."""
        return _held(read_json(self._path(experiment)))

    def shown(self, held: Held) -> dict[str, str]:
        """Give what people are shown of it, as it was written; empty where that is gone, or of another archive."""
        content = read_json(self._path(held.experiment).with_suffix(_SHOWN))
        if not isinstance(content, dict) or content.get("id") != held.id or not isinstance(content.get("texts"), dict):
            return {}
        return {str(name): str(text) for name, text in content["texts"].items()}

    def put(self, held: Held, texts: Mapping[str, str] | None = None) -> None:
        """Write it in place of whatever had this name; what people are shown only where that is given.

        Raises:
            OSError: It could not be written; what was there before is there still.

        """
        private_directory(self._directory)
        if texts is not None:
            content = {"id": held.id, "texts": dict(texts)}
            write_json(self._path(held.experiment).with_suffix(_SHOWN), content)
        write_json(self._path(held.experiment), {"format": _FORMAT, **asdict(held)})
        for other in self.all()[:-MOST]:
            if other.experiment != held.experiment:
                self.remove(other.experiment)

    def remove(self, experiment: str) -> None:
        """Remove what is there under a name; raises OSError where that cannot be done."""
        path = self._path(experiment)
        path.unlink(missing_ok=True)
        path.with_suffix(_SHOWN).unlink(missing_ok=True)

    def _path(self, experiment: str) -> Path:
        return self._directory / f"{key(experiment)}.json"

    def _over(self, held: Held) -> bool:
        longest = APPROVAL_KEPT if held.decision == APPROVED else 0.0
        return held.deadline + longest <= self._clock()


def _held(content: Any) -> Held | None:
    """Read one file's content; what cannot be understood counts as not there, so that nobody is taken to have voted."""
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        return None
    try:
        votes = content.pop("votes")
        held = Held(**content, votes=tuple(Vote(**vote) for vote in votes))
    except (TypeError, KeyError):
        return None
    return held if _is_sound(held) and all(map(_is_sound, held.votes)) else None


def _is_sound(instance: Held | Vote) -> bool:
    """Whether each field has the type that it is declared with."""
    return all(
        isinstance(getattr(instance, name), _TYPES[str(attribute.type)])
        for name, attribute in fields_dict(type(instance)).items()
    )


_TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "int": int,
    "float": (int, float),
    "str": str,
    "tuple[Vote, ...]": tuple,
}
