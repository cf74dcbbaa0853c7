"""An experiment's own Python environment: locked before the review, built from exactly that, found again by the lock.

The agent's own environment is never changed. An environment is read-only, and there wholly or not at all. What an
engine needs is installed with the rest, so that all of it fits together; where it cannot be had, as from a site's own
wheels, the node's own packages will do.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedenvoy.workspace.building import make, publish
from fedenvoy.workspace.drafts import drafting
from fedenvoy.workspace.failures import RequirementsError, retried
from fedenvoy.workspace.installer import uv_environment
from fedenvoy.workspace.interpreters import Interpreter, inspect, satisfied
from fedenvoy.workspace.locking import Locks, first_to_resolve
from fedenvoy.workspace.pins import Locked
from fedenvoy.workspace.recipes import Recipe, make_recipe
from fedenvoy.workspace.upkeep import in_use, note_use, prune

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tenacity import RetryCallState

    from fedenvoy.cancel import Cancel
    from fedenvoy.config import RequirementsSettings
    from fedenvoy.ports import EngineNeeds
    from fedenvoy.workspace.drafts import Draft
    from fedenvoy.workspace.installer import Confine, Uv

__all__ = ["Environments", "Locked", "RequirementsError", "satisfied"]

logger = logging.getLogger(__name__)


class Environments:
    """The environments below one state directory; may be used by several threads and several agents.

    Args:
        state_dir: Absolute path; they lie in `environments` there.
        settings: `agent.requirements`.
        python: The interpreter they are made from; None: the agent's own.
        tries: How often an installation is tried while the network is at fault.
        pause: Seconds of the first pause between two tries, at most.
        environ: The environment variables to take uv's and pip's settings and the proxies from.
        confine: Runs what may run a package's code; None: nothing confines it.

    """

    def __init__(
        self,
        state_dir: Path,
        settings: RequirementsSettings,
        python: Path | None,
        *,
        tries: int = 4,
        pause: float = 2.0,
        environ: Mapping[str, str] = os.environ,
        confine: Confine | None = None,
    ) -> None:
        self._root = state_dir / "environments"
        self._settings = settings
        self._python = python or Path(sys.executable)
        self._tries = tries
        self._pause = pause
        self._environ = environ
        self._confine = confine
        self._interpreter: Interpreter | None = None
        self._locks = Locks(self._root, settings, self._retried)

    def lock(
        self,
        requirements: str,
        site: Path | None,
        needs: EngineNeeds,
        workspace: Path,
        *,
        inherit: bool,
        cancel: Cancel,
    ) -> Locked:
        """Say what `build` would install, version by version, with hashes; no code of any package is run for it.

        The arguments are those of `build`. An answer is kept, and given again without asking any index.

        Raises:
            RequirementsError: The requirements cannot be met or may not be asked for; `kind` tells whose fault it is.
            Cancelled: When `cancel` was cancelled meanwhile.

        """
        cancel.raise_if_cancelled()
        return self._locks.get(self._recipe(requirements, site, needs, workspace, inherit=inherit), cancel)

    def build(
        self,
        requirements: str,
        site: Path | None,
        needs: EngineNeeds,
        workspace: Path,
        *,
        inherit: bool,
        cancel: Cancel,
        locked: Locked | None = None,
    ) -> Path:
        """Give the interpreter of an environment that holds all that is asked for; build it where there is none yet.

        Args:
            requirements: The experiment's, normalised.
            site: The site's own requirements file.
            needs: What the engine wants, where neither experiment nor site decides the version.
            workspace: The unpacked archive, which the experiment's lines may name files of.
            inherit: Whether the node's packages stay visible behind the environment's own.
            cancel: Kills the installer.
            locked: What was approved, from `lock`; None: whatever `lock` gives now.

        Raises:
            RequirementsError: It cannot be built; `kind` tells whose fault it is.
            Cancelled: When `cancel` was cancelled meanwhile.

        """
        cancel.raise_if_cancelled()
        recipe = self._recipe(requirements, site, needs, workspace, inherit=inherit)
        known = self._locks.known(recipe) if locked is None else None
        try:
            return self._find_or_build(recipe, locked or known or self._locks.get(recipe, cancel), cancel)
        except RequirementsError as error:
            if error.kind not in {"resolution", "other"}:
                raise
            self._locks.forget(recipe)  # the index may have changed since
            fresh = self._locks.get(recipe, cancel) if known is not None else None
            if fresh is None or fresh == known:
                raise
        return self._find_or_build(recipe, fresh, cancel)

    def in_use(self, python: Path) -> AbstractContextManager[None]:
        """Keep the environment of an interpreter that `build` gave from being removed, for the length of a block."""
        return in_use(python.parent.parent)

    def _recipe(
        self, requirements: str, site: Path | None, needs: EngineNeeds, workspace: Path, *, inherit: bool
    ) -> Recipe:
        if self._interpreter is None:
            self._interpreter = inspect(self._python)
        return make_recipe(
            self._interpreter,
            requirements,
            site,
            needs.packages,
            workspace,
            inherit=inherit,
            settings=self._settings,
            uv=uv_environment(self._environ, self._root.parent / "uv-cache"),
        )

    def _find_or_build(self, recipe: Recipe, locked: Locked, cancel: Cancel) -> Path:
        place = self._root / recipe.environment_digest(locked)
        if note_use(place):
            return place / "bin" / "python"
        with drafting(place, recipe, self._settings, cancel, self._confine) as (draft, run):
            if not note_use(place):
                logger.info("building an environment: %s", place)
                prune(self._root, self._settings.keep)
                self._make(recipe, locked, draft, run, cancel)
                publish(draft)
                note_use(place)
        prune(self._root, 0, self._settings.max_bytes, spare=place.name)
        return place / "bin" / "python"

    def _make(self, recipe: Recipe, locked: Locked, draft: Draft, run: Uv, cancel: Cancel) -> None:
        """Make it; what was not resolved before may have to do without what only the engine needs."""

        def attempt() -> None:
            if locked.complete:
                make(draft, recipe, locked, run)
            else:
                first_to_resolve(recipe, lambda variant: make(draft, variant, locked, run))

        self._retried(attempt, cancel)

    def _retried(self, attempt: Callable[[], None], cancel: Cancel) -> None:
        retried(attempt, tries=self._tries, pause=self._pause, cancel=cancel, before=_log_retry)


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    logger.warning("try %d of the installation failed, trying again: %s", state.attempt_number, error)
