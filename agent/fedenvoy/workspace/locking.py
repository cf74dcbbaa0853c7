"""Locks: asked of uv once, kept beside the environments, and given again to whoever asks for the same."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve

from fedenvoy.workspace.drafts import drafting
from fedenvoy.workspace.failures import RequirementsError
from fedenvoy.workspace.interpreters import satisfied
from fedenvoy.workspace.needs import bounds
from fedenvoy.workspace.pins import Locked
from fedenvoy.workspace.resolving import lock_of, must_be_built, resolve, unbuilt_names

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel
    from fedenvoy.config import RequirementsSettings
    from fedenvoy.workspace.drafts import Draft
    from fedenvoy.workspace.installer import Uv
    from fedenvoy.workspace.recipes import Recipe

__all__ = ["Locks", "first_to_resolve"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Locks:
    """The locks in one cache; may be used by several threads and several agents.

    Args:
        root: The cache.
        settings: `agent.requirements`.
        retry: Calls what it is given until that does not fail for the network's fault any more.

    """

    def __init__(
        self, root: Path, settings: RequirementsSettings, retry: Callable[[Callable[[], None], Cancel], None]
    ) -> None:
        self._root = root
        self._settings = settings
        self._retry = retry

    def known(self, recipe: Recipe) -> Locked | None:
        """Give the lock that was made before, if it was."""
        if recipe.empty:
            return Locked("")
        path = self._path(recipe)
        try:
            found = json.loads(path.read_bytes())
            os.utime(path)
            return Locked(str(found["text"]), tuple(map(str, found["notes"])), complete=found["complete"] is True)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError):
            logger.warning("the lock %s cannot be read, and is made anew", path)
            return None

    def forget(self, recipe: Recipe) -> None:
        """Have it made anew the next time."""
        self._path(recipe).unlink(missing_ok=True)

    def get(self, recipe: Recipe, cancel: Cancel) -> Locked:
        """Give the lock, the known one or a new one.

        Raises:
            RequirementsError: There is none.
            Cancelled: When `cancel` was cancelled meanwhile.

        """
        known = self.known(recipe)
        if known is not None:
            return known
        with drafting(self._root / recipe.digest, recipe, self._settings, cancel, None) as (draft, run):
            known = self.known(recipe)
            if known is None:
                known = self._make(recipe, draft, run, cancel)
                content = {"text": known.text, "notes": known.notes, "complete": known.complete}
                written = draft.lists / "pins"
                written.touch(mode=0o600)
                written.write_text(json.dumps(content), encoding="ascii")
                written.replace(self._path(recipe))
        return known

    def _make(self, recipe: Recipe, draft: Draft, run: Uv, cancel: Cancel) -> Locked:
        found: list[Locked] = []

        def attempt() -> None:
            found.append(first_to_resolve(recipe, lambda variant: _resolved(variant, draft, run)))

        self._retry(attempt, cancel)
        return found[-1]

    def _path(self, recipe: Recipe) -> Path:
        return self._root / f"{recipe.digest}.pins"


def first_to_resolve(recipe: Recipe, attempt: Callable[[Recipe], T]) -> T:
    """Try it with what the engine needs; where that cannot be had, and the node itself has it, without."""
    try:
        return attempt(recipe)
    except RequirementsError as error:
        if error.kind != "resolution" or not _gives(recipe):
            raise
    logger.info("what the engine needs is left out of the installation: the node itself has it")
    constraints = (*recipe.wanted.constraints, *bounds(recipe.needed, recipe.interpreter.places))
    return attempt(evolve(recipe, needed=(), wanted=evolve(recipe.wanted, constraints=constraints)))


def _gives(recipe: Recipe) -> bool:
    """Whether the node's own packages, seen behind the environment's, are what the engine needs."""
    return recipe.inherit and bool(recipe.needed) and satisfied(recipe.interpreter.path, recipe.needed)


def _resolved(recipe: Recipe, draft: Draft, run: Uv) -> Locked:
    try:
        return lock_of(recipe, resolve(recipe, draft.lists, run))
    except RequirementsError as error:
        unbuilt = unbuilt_names(error)
        if not unbuilt:
            raise
        return must_be_built(recipe, unbuilt)
