"""The making of one environment, or of its lock: alone, within bounds, with nothing left beside it in the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from fedenvoy.processes import MARK
from fedenvoy.workspace.failures import tail_of
from fedenvoy.workspace.installer import Uv, cache_of
from fedenvoy.workspace.locks import locked
from fedenvoy.workspace.room import Bounds, Room
from fedenvoy.workspace.runs import remove_run

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel
    from fedenvoy.config import RequirementsSettings
    from fedenvoy.workspace.installer import Confine
    from fedenvoy.workspace.recipes import Recipe

__all__ = ["Draft", "drafting"]


@frozen
class Draft:
    """Where an environment is made: everything lies beside its place, under its name with a suffix."""

    place: Path

    def beside(self, suffix: str) -> Path:
        """Give the path of one of its files."""
        return self.place.with_name(f"{self.place.name}.{suffix}")

    @property
    def new(self) -> Path:
        """The environment itself, until it is published."""
        return self.beside("new")

    @property
    def lists(self) -> Path:
        """What uv is given and gives."""
        return self.beside("lists")

    @property
    def private(self) -> Path:
        """Cache, home and temporary files of what builds packages."""
        return self.beside("build")

    @property
    def log(self) -> Path:
        """What uv printed last."""
        return self.beside("log")

    def clear(self) -> None:
        """Remove all of it, also what another left that was killed."""
        for path in (self.new, self.lists, self.private, self.log):
            remove_run(path)


@contextlib.contextmanager
def drafting(
    place: Path, recipe: Recipe, settings: RequirementsSettings, cancel: Cancel, confine: Confine | None
) -> Iterator[tuple[Draft, Uv]]:
    """Hold the lock of a place for the length of a block that makes what belongs there.

    Args:
        place: Where it will be; what is made lies beside it until then.
        recipe: What is asked for.
        settings: The bounds.
        cancel: From outside.
        confine: Runs what may run a package's code; None: nothing confines it.

    Raises:
        RequirementsError: Another holds the lock and does not end, or the bounds were not kept.
        Cancelled: When `cancel` was cancelled meanwhile.

    """
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Draft(place)
    with locked(draft.beside("lock"), settings.timeout, cancel) as lock:
        draft.clear()
        room = Room(settings.max_environment_bytes, (draft.new, draft.lists, draft.private), cache_of(recipe.uv))
        bounds = Bounds(cancel, settings.timeout, room, lambda: tail_of(draft.log))
        run = Uv(
            {**recipe.uv, MARK: lock.token},
            cwd=recipe.site.absolute().parent if recipe.site is not None else place.parent,
            log=draft.log,
            cancel=bounds.cancel,
            hold=lock.descriptor,
            confine=confine,
        )
        try:
            with bounds.watched():
                draft.lists.mkdir()
                draft.lists.chmod(0o755)  # in a directory that is the agent's alone; the user that builds reads it
                yield draft, run
                room.demand()
        finally:
            draft.clear()
