"""An experiment's own Python environment: built once from what it asks for, found again by a digest of exactly that.

The agent's own environment is never changed. An environment is complete when its marker file is there; what has none
was cut off while it was built, and is built anew. What an engine needs is installed with the rest, so that all of it
fits together; where it cannot be had, as from a site's own wheels, the node's own packages will do.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from fedenvoy.processes import MARK
from fedenvoy.workspace.installer import RequirementsError, Uv, retried, uv_environment
from fedenvoy.workspace.interpreters import Interpreter, installed, satisfied
from fedenvoy.workspace.locks import Lock, locked
from fedenvoy.workspace.needs import bounds
from fedenvoy.workspace.recipes import Recipe, make_recipe
from fedenvoy.workspace.runs import remove_run
from fedenvoy.workspace.upkeep import MARKER, in_use, note_use, prune

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tenacity import RetryCallState

    from fedenvoy.cancel import Cancel
    from fedenvoy.config import RequirementsSettings
    from fedenvoy.ports import EngineNeeds

__all__ = ["Environments", "RequirementsError", "satisfied"]

logger = logging.getLogger(__name__)

BEHIND = "~fedenvoy-node.pth"
"""Sorted last of all such files, so that the node's packages come behind everything of the environment's own."""


class Environments:
    """The environments below one state directory; may be used by several threads and several agents.

    Args:
        state_dir: Absolute path; they lie in `environments` there.
        settings: `agent.requirements`.
        python: The interpreter they are made from; None: the agent's own.
        tries: How often an installation is tried while the network is at fault.
        pause: Seconds of the first pause between two tries, at most.
        environ: The environment variables to take uv's and pip's settings and the proxies from.

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
    ) -> None:
        self._root = state_dir / "environments"
        self._settings = settings
        self._python = python or Path(sys.executable)
        self._tries = tries
        self._pause = pause
        self._environ = environ

    def build(
        self,
        requirements: str,
        site: Path | None,
        needs: EngineNeeds,
        workspace: Path,
        *,
        inherit: bool,
        cancel: Cancel,
    ) -> Path:
        """Give the interpreter of an environment that holds all that is asked for; build it where there is none yet.

        Args:
            requirements: The experiment's, normalised.
            site: The site's own requirements file.
            needs: What the engine wants, where neither experiment nor site decides the version.
            workspace: The unpacked archive, which the experiment's lines may name files of.
            inherit: Whether the node's packages stay visible behind the environment's own.
            cancel: Kills the installer.

        Raises:
            RequirementsError: It cannot be built; `kind` tells whose fault it is.
            Cancelled: When `cancel` was cancelled meanwhile.

        """
        cancel.raise_if_cancelled()
        uv = uv_environment(self._environ, self._root.parent / "uv-cache")
        recipe = make_recipe(self._python, requirements, site, needs.packages, workspace, inherit=inherit, uv=uv)
        try:
            return self._find_or_build(recipe, cancel)
        except RequirementsError as error:
            if error.kind != "resolution" or not self._gives(recipe):
                raise
            logger.info("what the engine needs is left out of the installation: the node itself has it")
        places = recipe.interpreter.places
        constraints = (*recipe.wanted.constraints, *bounds(recipe.needed, places))
        return self._find_or_build(
            evolve(recipe, needed=(), wanted=evolve(recipe.wanted, constraints=constraints)), cancel
        )

    def in_use(self, python: Path) -> AbstractContextManager[None]:
        """Keep the environment of an interpreter that `build` gave from being removed, for the length of a block."""
        return in_use(python.parent.parent)

    def _find_or_build(self, recipe: Recipe, cancel: Cancel) -> Path:
        place = self._root / recipe.digest
        if not note_use(place):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self._root / f"{recipe.digest}.lock", self._settings.timeout, cancel) as lock:
                if not note_use(place):
                    prune(self._root, self._settings.keep)
                    self._build(recipe, place, lock, cancel)
        return _interpreter(place)

    def _gives(self, recipe: Recipe) -> bool:
        """Whether the node's own packages, seen behind the environment's, are what the engine needs."""
        return recipe.inherit and bool(recipe.needed) and satisfied(recipe.interpreter.path, recipe.needed)

    def _build(self, recipe: Recipe, place: Path, lock: Lock, cancel: Cancel) -> None:
        logger.info("building an environment: %s", place)
        remove_run(place)
        files = [self._root / f"{place.name}.{kind}.txt" for kind in ("requirements", "constraints")]
        log = self._root / f"{place.name}.log"
        run = Uv(
            {**recipe.uv, MARK: lock.token},
            cwd=recipe.site.absolute().parent if recipe.site is not None else self._root,
            log=log,
            timeout=self._settings.timeout,
            cancel=cancel,
            hold=lock.descriptor,
        )
        try:
            run("venv", "--no-project", "--python", str(recipe.interpreter.path), str(place))
            arguments = _arguments(recipe, *files)
            if arguments:
                retried(
                    lambda: run("pip", "install", "--python", str(_interpreter(place)), *arguments),
                    tries=self._tries,
                    pause=self._pause,
                    cancel=cancel,
                    before=_log_retry,
                )
            if recipe.inherit:
                _put_behind(place, recipe.interpreter)
            (place / MARKER).touch()
        except BaseException:
            remove_run(place)
            raise
        finally:
            for file in (*files, log):
                file.unlink(missing_ok=True)


def _arguments(recipe: Recipe, requirements: Path, constraints: Path) -> list[str]:
    """Write the files that uv reads, and give the arguments that name them; none where nothing is asked for."""
    lines = (*recipe.wanted.lines, *recipe.needed)
    arguments = []
    if lines:
        options = [option for option in recipe.wanted.options if option != "--pre"]
        _write(requirements, (*options, *lines))
        arguments += ["-r", str(requirements)]
        if len(options) < len(recipe.wanted.options):
            arguments += ["--prerelease", "allow"]
    if recipe.site is not None:
        arguments += ["-r", str(recipe.site.absolute())]
    if arguments and recipe.wanted.constraints:
        _write(constraints, recipe.wanted.constraints)
        arguments += ["-c", str(constraints)]
    return arguments


def _put_behind(place: Path, interpreter: Interpreter) -> None:
    """Make the node's packages visible behind the environment's own, with what their own .pth files add."""
    own = next(place.glob("lib*/*/site-packages"))
    lines = [f"import site; site.addsitedir({str(path)!r})\n" for path in interpreter.places]
    (own / BEHIND).write_text("".join(lines), encoding="utf-8")
    node = installed(interpreter.places)
    shadowed = [
        f"{name} {version} (the node's is {node[name]})"
        for name, version in sorted(installed((own,)).items())
        if node.get(name, version) != version
    ]
    if shadowed:
        logger.info("the experiment's environment has versions of its own: %s", ", ".join(shadowed))


def _interpreter(place: Path) -> Path:
    return place / "bin" / "python"


def _write(path: Path, lines: tuple[str, ...]) -> None:
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    logger.warning("try %d of the installation failed, trying again: %s", state.attempt_number, error)
