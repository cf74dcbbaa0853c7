"""How the commands for a node that is there find it and ask it: by its state directory, and through its socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fedenvoy.cli_options import node_options
from fedenvoy.errors import AbsentError, AmbiguousError, FedenvoyError, StoreError

if TYPE_CHECKING:
    from fedenvoy.control.places import Place
    from fedenvoy.store.history import History

__all__ = ["ask", "cancelled", "declined", "find", "history", "over", "runs", "snapshot", "until", "which_node"]

F = TypeVar("F", bound=Callable[..., Any])
_GLANCE = 0.05
"""Seconds between two looks."""


def which_node(command: F) -> F:
    """Add the options that say which node is meant."""
    option = click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        help="Where the node keeps its state, as `start` was given it.  [default: $STATE_DIRECTORY, else the user's]",
    )
    return node_options(required=False)(option(command))


def find(
    *, state_dir: Path | None, shard_name: str | None, director_host: str | None, director_port: int | None
) -> Place:
    """Find the node that is meant.

    Raises:
        AbsentError: There is none.
        AmbiguousError: There are several; the sentence says how to tell them apart.
        StoreError: The state directory cannot be read.

    """
    from fedenvoy.control.places import default_root, places  # noqa: PLC0415

    root = (state_dir or default_root()).absolute()
    try:
        everybody = places(root)
    except OSError as error:
        raise StoreError(
            f"{error.filename or root} cannot be read ({error.strerror}): ask as the user it belongs to"
        ) from None
    meant = [place for place in everybody if place.fits(shard_name, director_host, director_port)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise AmbiguousError(f"several nodes keep their state in {root}: say which with {_choices(meant)}")
    if everybody:
        raise AbsentError(f"no such node keeps its state in {root}; there are {', '.join(map(str, everybody))}")
    raise AbsentError(
        f"no node keeps its state in {root}; name the directory that the node was given with --state-dir or "
        "agent.state_dir"
    )


def _choices(meant: list[Place]) -> str:
    names = [place.shard_name for place in meant]
    return ", or ".join(
        f"-n {place.shard_name}" if names.count(place.shard_name) == 1 else place.options for place in meant
    )


def ask(place: Place, command: str, *texts: str) -> dict[str, Any]:
    """Ask a node that runs; the texts are named by `control.protocol.ARGUMENTS`, in that order.

    Raises:
        AbsentError: It does not run.
        FedenvoyError: It does not answer, or refuses.

    """
    from fedenvoy.control.client import UnreachableError, ask  # noqa: PLC0415
    from fedenvoy.store.history import holder  # noqa: PLC0415

    try:
        return ask(place.directory, command, *texts)
    except UnreachableError as error:
        process = holder(place.directory)
        if process is None:
            raise AbsentError(f"{place} is not running") from None
        raise FedenvoyError(
            f"{place} does not answer ({error}): process {process} is starting, ending, or stopped by a signal"
        ) from None


def snapshot(place: Place) -> dict[str, Any]:
    """Give what a node that runs says of this moment."""
    return dict(ask(place, "snapshot")["snapshot"])


def cancelled(place: Place, reason: str) -> str:
    """Ask for the end of the experiment in hand; give its name, empty when there is none."""
    return str(ask(place, "cancel", reason)["experiment"])


def until(come: Callable[[], bool], seconds: float) -> bool:
    """Look again and again until something has come, for so many seconds; tell whether it has."""
    end = time.monotonic() + seconds
    while not come():
        if time.monotonic() >= end:
            return False
        time.sleep(_GLANCE)
    return True


def over(place: Place, experiment: str) -> bool:
    """Whether an experiment is no longer in hand, and its verdict not just under way."""
    try:
        now = snapshot(place)
    except AbsentError:
        return True
    return bool(now["experiment"] != experiment and now["state"] != "Reporting")


def runs(place: Place) -> bool:
    """Whether a node's process is there, answering or not."""
    from fedenvoy.store.history import holder  # noqa: PLC0415

    try:
        ask(place, "snapshot")
    except FedenvoyError:
        return holder(place.directory) is not None
    return True


def history(place: Place) -> History:
    """Read a node's files."""
    from fedenvoy.store.history import read_history  # noqa: PLC0415

    return read_history(place.directory)


def declined(place: Place) -> set[str]:
    """Give the names that a running node declines."""
    settled = {one.experiment for one in history(place).settled}
    return settled | {one["experiment"] for one in snapshot(place)["declined"]}
