"""The commands for a node that is there already: `status`, `cancel`, `pause`, `resume`, `forget`, `stop`.

Each finds the node by its state directory, asks it through its control socket, and says what is now.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fedenvoy.cli_errors import Command
from fedenvoy.cli_options import node_options
from fedenvoy.control.protocol import TEXT_LIMIT
from fedenvoy.errors import AbsentError, AmbiguousError, FedenvoyError, StoreError

if TYPE_CHECKING:
    from fedenvoy.control.places import Place

__all__ = ["COMMANDS"]

F = TypeVar("F", bound=Callable[..., Any])
_PATIENCE = 5.0
"""Seconds in which an agent that was told something does it."""
_GLANCE = 0.05
"""Seconds between two looks."""


def _which_node(command: F) -> F:
    """Add the options that say which node is meant."""
    option = click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        help="Where the node keeps its state, as `start` was given it.  [default: $STATE_DIRECTORY, else the user's]",
    )
    return node_options(required=False)(option(command))


_wait_option = click.option(
    "--wait", type=click.FloatRange(min=0), default=15, show_default=True, help="Seconds to wait for it to be done."
)


@click.command(cls=Command)
@_which_node
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as docs/control.md describes it.")
def status(as_json: bool, **which: Any) -> None:
    """Show what a node is doing, and why it is not training.

    Works for an agent that runs, and for one that does not: then its files say what it did last.

    \b
    Example:
      fedenvoy status -n hospital_1
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from fedenvoy.status import status as gathered  # noqa: PLC0415
    from fedenvoy.status import written  # noqa: PLC0415

    found = gathered(_place(**which))
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else written(found))


@click.command(cls=Command)
@_which_node
@click.option("--reason", default="", metavar="TEXT", help="Told to the director.")
@_wait_option
def cancel(reason: str, wait: float, **which: Any) -> None:
    """End the experiment in hand.

    The director is told that it failed here. The node stays, and takes no experiment of that name for a minute.

    \b
    Example:
      fedenvoy cancel --reason "the machine is needed for patients"
    """  # noqa: D301
    if len(reason) > TEXT_LIMIT:
        raise click.BadParameter(f"longer than {TEXT_LIMIT} characters", param_hint="--reason")
    place = _place(**which)
    name = _cancelled(place, reason)
    if not name:
        raise AbsentError(f"{place} has no experiment in hand: there is nothing to cancel")
    if not _until(lambda: _over(place, name), wait):
        click.echo(f"{place}: experiment {name!r} is being cancelled")
    elif any(one.experiment == name for one in _history(place).outbox):
        click.echo(f"{place}: experiment {name!r} is cancelled; the director is told when it can be reached")
    else:
        click.echo(f"{place}: experiment {name!r} is cancelled, and the director was told")


@click.command(cls=Command)
@_which_node
def pause(**which: Any) -> None:
    """Take no new experiment for now.

    Offers are declined until `fedenvoy resume`, also after a restart; an experiment in hand goes on.

    \b
    Example:
      fedenvoy pause -n hospital_1
    """  # noqa: D301
    place = _place(**which)
    _turn(place, "pause", paused=True)
    hand = _snapshot(place)["experiment"]
    click.echo(f"{place} is paused: it takes no new experiment" + (f"; {hand!r} goes on" if hand else ""))


@click.command(cls=Command)
@_which_node
def resume(**which: Any) -> None:
    """Take experiments again after a pause.

    One that the director offered meanwhile is asked for at once.

    \b
    Example:
      fedenvoy resume -n hospital_1
    """  # noqa: D301
    place = _place(**which)
    _turn(place, "resume", paused=False)
    click.echo(f"{place} is not paused: it takes experiments")


@click.command(cls=Command)
@_which_node
@click.argument("experiment", metavar="NAME")
def forget(experiment: str, **which: Any) -> None:
    """Take an experiment again that ended here.

    A node does not run the same failed archive twice, and lets a name rest after a run; this forgets both. Which names
    a node declines, and why, is shown by `fedenvoy status`.

    \b
    Example:
      fedenvoy forget brain_tumours_2
    """  # noqa: D301
    place = _place(**which)
    declined = _declined(place)
    if experiment not in declined:
        others = f"it declines {', '.join(map(repr, sorted(declined)))}" if declined else "it declines no name"
        raise AbsentError(f"{place} remembers nothing of {experiment!r}; {others}")
    _ask(place, "forget", experiment)
    if not _until(lambda: experiment not in _declined(place), _PATIENCE):
        raise _not_yet(place)
    click.echo(f"{place} has forgotten {experiment!r}: it is taken when it is offered again")


@click.command(cls=Command)
@_which_node
@click.option("--withdraw", is_flag=True, help="Cancel the experiment in hand first, so that the director is told.")
@click.option("--now", is_flag=True, help="End at once; the next start takes up what is unfinished.")
@_wait_option
def stop(withdraw: bool, now: bool, wait: float, **which: Any) -> None:
    """Stop the node in order.

    As SIGTERM does: nothing new is begun, and a training may finish, within agent.drain_timeout.

    \b
    Example, without waiting for the experiment in hand:
      fedenvoy stop --withdraw
    """  # noqa: D301
    place = _place(**which)
    before, end = _snapshot(place), time.monotonic() + wait
    hand = before["experiment"]
    if withdraw and (hand := _cancelled(place, "this node is being stopped")):
        # A stop bounds the time for telling the director, which is not told before the experiment's process has ended.
        _until(lambda: _over(place, hand), wait)
    _ask(place, "abort" if now else "stop")
    if _until(lambda: not _runs(place), end - time.monotonic()):
        untold = withdraw and hand and any(one.experiment == hand for one in _history(place).outbox)
        later = f"; the director is told of {hand!r} after the next start" if untold else ""
        click.echo(f"{place} has stopped{later}")
        return
    hint = f": experiment {hand!r} has up to {before['drain_timeout']:.0f} s to finish"
    click.echo(f"{place} is stopping{hint if hand and not (withdraw or now) else ''}")


COMMANDS = (status, cancel, pause, resume, forget, stop)
"""In the order in which they are listed."""


def _place(
    *, state_dir: Path | None, shard_name: str | None, director_host: str | None, director_port: int | None
) -> Place:
    """Find the node that is meant."""
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


def _ask(place: Place, command: str, text: str = "") -> dict[str, Any]:
    """Ask a node that runs."""
    from fedenvoy.control.client import UnreachableError, ask  # noqa: PLC0415
    from fedenvoy.store.history import holder  # noqa: PLC0415

    try:
        return ask(place.directory, command, text)
    except UnreachableError as error:
        process = holder(place.directory)
        if process is None:
            raise AbsentError(f"{place} is not running") from None
        raise FedenvoyError(
            f"{place} does not answer ({error}): process {process} is starting, ending, or stopped by a signal"
        ) from None


def _snapshot(place: Place) -> dict[str, Any]:
    return dict(_ask(place, "snapshot")["snapshot"])


def _cancelled(place: Place, reason: str) -> str:
    """Ask for the end of the experiment in hand; give its name, empty when there is none."""
    return str(_ask(place, "cancel", reason)["experiment"])


def _turn(place: Place, command: str, *, paused: bool) -> None:
    """Begin or end a pause, and wait until it is so."""
    _ask(place, command)
    if not _until(lambda: _snapshot(place)["paused"] is paused, _PATIENCE):
        raise _not_yet(place)


def _not_yet(place: Place) -> FedenvoyError:
    return FedenvoyError(f"{place} was told, but has not done it within {_PATIENCE:.0f} s; see `fedenvoy status`")


def _until(come: Callable[[], bool], seconds: float) -> bool:
    """Look again and again until something has come, for so many seconds; tell whether it has."""
    end = time.monotonic() + seconds
    while not come():
        if time.monotonic() >= end:
            return False
        time.sleep(_GLANCE)
    return True


def _over(place: Place, experiment: str) -> bool:
    """Whether an experiment is no longer in hand, and its verdict not just under way."""
    try:
        snapshot = _snapshot(place)
    except AbsentError:
        return True
    return bool(snapshot["experiment"] != experiment and snapshot["state"] != "Reporting")


def _runs(place: Place) -> bool:
    from fedenvoy.store.history import holder  # noqa: PLC0415

    try:
        _ask(place, "snapshot")
    except FedenvoyError:
        return holder(place.directory) is not None
    return True


def _history(place: Place) -> Any:
    from fedenvoy.store.history import read_history  # noqa: PLC0415

    return read_history(place.directory)


def _declined(place: Place) -> set[str]:
    """Give the names that a running node declines."""
    settled = {one.experiment for one in _history(place).settled}
    return settled | {one["experiment"] for one in _snapshot(place)["declined"]}
