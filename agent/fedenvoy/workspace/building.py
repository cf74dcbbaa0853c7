"""Makes an environment from a lock: beside its place, whole, read-only, and only then under its name.

Whatever a package's code did while it was built stays in what was being built: no link of it is followed here, and
nothing of it runs outside its confinement.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from fedenvoy.workspace.failures import RequirementsError
from fedenvoy.workspace.interpreters import installed
from fedenvoy.workspace.pins import read_pins, write_pins
from fedenvoy.workspace.resolving import install_list, resolve
from fedenvoy.workspace.room import size_of
from fedenvoy.workspace.runs import remove_run
from fedenvoy.workspace.upkeep import note_size

if TYPE_CHECKING:
    from fedenvoy.workspace.drafts import Draft
    from fedenvoy.workspace.installer import Uv
    from fedenvoy.workspace.pins import Locked
    from fedenvoy.workspace.recipes import Recipe

__all__ = ["make", "publish"]

logger = logging.getLogger(__name__)

BEHIND = "~fedenvoy-node.pth"
"""Sorted last of all such files, so that the node's packages come behind everything of the environment's own."""
MANY = 500
"""Source files from which on more than one processor compiles them."""


def make(draft: Draft, recipe: Recipe, locked: Locked, run: Uv) -> None:
    """Make the environment in `draft.new`; a second try begins anew.

    Raises:
        RequirementsError: It failed.
        Cancelled: It is no longer wanted.

    """
    remove_run(draft.new)
    run("venv", "--quiet", "--relocatable", "--no-project", "--python", str(recipe.interpreter.path), str(draft.new))
    packages = next(draft.new.glob("lib*/*/site-packages"))
    if recipe.inherit:
        lines = [f"import site; site.addsitedir({str(path)!r})\n" for path in recipe.interpreter.places]
        (packages / BEHIND).write_text("".join(lines), encoding="utf-8")
    if locked.text:
        (_install if locked.complete else _build)(draft, recipe, locked, run)
        _compile(draft, recipe, packages, run)
        _tell_shadowed(packages, recipe)


def _install(draft: Draft, recipe: Recipe, locked: Locked, run: Uv) -> None:
    pins = read_pins(locked.text)
    own = [pin for pin in pins if pin.is_sites(recipe.workspace) and not pin.is_wheel]
    others = [word for pin in pins if pin not in own for word in ("--only-binary", pin.name)]
    run(*_arguments(draft, recipe, locked.text), *(others if own else ("--no-build", "--require-hashes")))


def _build(draft: Draft, recipe: Recipe, _: Locked, run: Uv) -> None:
    """Resolve what could not be before, and install it; both may run code of packages.

    That code gets a copy of the archive: sources are built where they lie, and what was approved must stay as it is.
    """
    if str(recipe.workspace) in "\n".join((*recipe.wanted.options, *recipe.wanted.lines)):
        copy = draft.private / "archive"
        remove_run(copy)
        shutil.copytree(recipe.workspace, copy, symlinks=True)
        recipe = recipe.moved(copy)
    read = (*recipe.interpreter.prefixes, *recipe.directories, *recipe.linked, *recipe.site_places, draft.lists)

    def build_in(place: Path, *arguments: str) -> None:
        if recipe.trusted:
            run(*arguments)
        else:
            run.building(*arguments, read=read, write=place, private=draft.private, network=recipe.online)

    pins = resolve(recipe, draft.lists, lambda *arguments: build_in(draft.lists, *arguments), build=True)
    own = f"{recipe.workspace}/"  # the archive's own sources are what was approved; uv before 0.9 cannot hash them
    pins = tuple(evolve(pin, hashes=()) if own in pin.requirement and not pin.is_wheel else pin for pin in pins)
    text = write_pins(pins, recipe.workspace)
    hashed = ["--require-hashes"] if all(pin.hashes for pin in pins) else []
    arguments = [*_arguments(draft, recipe, text), *hashed]
    try:
        build_in(draft.new, *arguments)
    except RequirementsError as error:
        if "no hashes were computed" not in error.tail:
            raise
        remove_run(draft.private / "uv")  # uv before 0.9 does not hash what it had built to resolve
        build_in(draft.new, *arguments)


def _arguments(draft: Draft, recipe: Recipe, text: str) -> list[str]:
    """Write the list that is to be installed, and give uv's arguments: copies, since links would share the cache's."""
    listed = draft.lists / "install.txt"
    listed.unlink(missing_ok=True)
    listed.touch(mode=0o600)
    listed.write_text(install_list(recipe, text), encoding="utf-8")
    listed.chmod(0o644)
    python = str(draft.new / "bin" / "python")
    return ["pip", "install", "--python", python, "--link-mode", "copy", "--no-deps", *recipe.flags, "-r", str(listed)]


def _compile(draft: Draft, recipe: Recipe, packages: Path, run: Uv) -> None:
    """Compile all sources, since nobody can later: by the interpreter that the environment is made from, without it."""
    many = sum(1 for _ in packages.rglob("*.py")) > MANY
    argv = [str(recipe.interpreter.path), "-I", "-S", "-m", "compileall", "-q", "-q", "-j", "0" if many else "1"]
    argv += ["-s", str(draft.new), "-p", str(draft.place), str(packages)]
    code = run.confined(argv, {"PATH": os.defpath}, read=recipe.interpreter.prefixes, write=(draft.new,))
    if code < 0 or next(packages.rglob("*.pyc"), None) is None:
        logger.warning("compiling the environment failed (%d), its packages will load slowly: %s", code, run.tail())


def publish(draft: Draft) -> None:
    """Make the environment read-only, bring it to the disk, and give it its name: it is there wholly or not at all."""
    _seal(draft.new)
    _sync(draft.new)
    note_size(draft.place, size_of(draft.new))
    remove_run(draft.place)
    draft.new.rename(draft.place)


def _seal(top: Path) -> None:
    """Let everybody read and nobody write; what is neither file, directory nor link goes, and so do special rights."""
    for folder, directories, names in os.walk(top, topdown=False):
        for name in (*directories, *names):
            _seal_one(Path(folder, name))
    _seal_one(top)


def _seal_one(path: Path) -> None:
    found = path.lstat()
    if (found.st_uid, found.st_gid) != (os.getuid(), os.getgid()):  # the user's that built it
        with contextlib.suppress(OSError):
            os.chown(path, os.getuid(), os.getgid(), follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        path.chmod(0o555)
    elif stat.S_ISREG(found.st_mode):
        path.chmod(0o555 if found.st_mode & 0o111 else 0o444)
    elif not stat.S_ISLNK(found.st_mode):
        path.unlink()


def _sync(place: Path) -> None:
    """Write to the disk what the file system of a directory still holds back: a name must not outlive its content."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    finally:
        os.close(descriptor)


def _tell_shadowed(packages: Path, recipe: Recipe) -> None:
    if not recipe.inherit or packages.resolve() != packages.parent.resolve() / packages.name:
        return
    node = installed(recipe.interpreter.places)
    shadowed = [
        f"{name} {version} (the node's is {node[name]})"
        for name, version in sorted(installed((packages,)).items())
        if node.get(name, version) != version
    ]
    if shadowed:
        logger.info("the experiment's environment has versions of its own: %s", ", ".join(shadowed))
