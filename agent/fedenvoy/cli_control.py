"""The commands for a node that is there already: `status`, `cancel`, `pause`, `resume`, `forget`, `stop`.

Each finds the node by its state directory, asks it through its control socket, and says what is now.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from fedenvoy.cli_errors import Command
from fedenvoy.cli_nodes import ask, cancelled, declined, find, history, over, runs, snapshot, until, which_node
from fedenvoy.control.protocol import TEXT_LIMIT
from fedenvoy.errors import AbsentError, FedenvoyError

if TYPE_CHECKING:
    from fedenvoy.control.places import Place

__all__ = ["COMMANDS"]

_PATIENCE = 5.0
"""Seconds in which an agent that was told something does it."""


_wait_option = click.option(
    "--wait", type=click.FloatRange(min=0), default=15, show_default=True, help="Seconds to wait for it to be done."
)


@click.command(cls=Command)
@which_node
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

    found = gathered(find(**which))
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else written(found))


@click.command(cls=Command)
@which_node
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
    place = find(**which)
    name = cancelled(place, reason)
    if not name:
        raise AbsentError(f"{place} has no experiment in hand: there is nothing to cancel")
    if not until(lambda: over(place, name), wait):
        click.echo(f"{place}: experiment {name!r} is being cancelled")
    elif any(one.experiment == name for one in history(place).outbox):
        click.echo(f"{place}: experiment {name!r} is cancelled; the director is told when it can be reached")
    else:
        click.echo(f"{place}: experiment {name!r} is cancelled, and the director was told")


@click.command(cls=Command)
@which_node
def pause(**which: Any) -> None:
    """Take no new experiment for now.

    Offers are declined until `fedenvoy resume`, also after a restart; an experiment in hand goes on.

    \b
    Example:
      fedenvoy pause -n hospital_1
    """  # noqa: D301
    place = find(**which)
    _turn(place, "pause", paused=True)
    hand = snapshot(place)["experiment"]
    click.echo(f"{place} is paused: it takes no new experiment" + (f"; {hand!r} goes on" if hand else ""))


@click.command(cls=Command)
@which_node
def resume(**which: Any) -> None:
    """Take experiments again after a pause.

    One that the director offered meanwhile is asked for at once.

    \b
    Example:
      fedenvoy resume -n hospital_1
    """  # noqa: D301
    place = find(**which)
    _turn(place, "resume", paused=False)
    click.echo(f"{place} is not paused: it takes experiments")


@click.command(cls=Command)
@which_node
@click.argument("experiment", metavar="NAME")
def forget(experiment: str, **which: Any) -> None:
    """Take an experiment again that ended here.

    A node does not run the same failed archive twice, and lets a name rest after a run; this forgets both. Which names
    a node declines, and why, is shown by `fedenvoy status`.

    \b
    Example:
      fedenvoy forget brain_tumours_2
    """  # noqa: D301
    place = find(**which)
    names = declined(place)
    if experiment not in names:
        others = f"it declines {', '.join(map(repr, sorted(names)))}" if names else "it declines no name"
        raise AbsentError(f"{place} remembers nothing of {experiment!r}; {others}")
    ask(place, "forget", experiment)
    if not until(lambda: experiment not in declined(place), _PATIENCE):
        raise _not_yet(place)
    click.echo(f"{place} has forgotten {experiment!r}: it is taken when it is offered again")


@click.command(cls=Command)
@which_node
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
    place = find(**which)
    before, end = snapshot(place), time.monotonic() + wait
    hand = before["experiment"]
    if withdraw and (hand := cancelled(place, "this node is being stopped")):
        # A stop bounds the time for telling the director, which is not told before the experiment's process has ended.
        until(lambda: over(place, hand), wait)
    ask(place, "abort" if now else "stop")
    if until(lambda: not runs(place), end - time.monotonic()):
        untold = withdraw and hand and any(one.experiment == hand for one in history(place).outbox)
        later = f"; the director is told of {hand!r} after the next start" if untold else ""
        click.echo(f"{place} has stopped{later}")
        return
    hint = f": experiment {hand!r} has up to {before['drain_timeout']:.0f} s to finish"
    click.echo(f"{place} is stopping{hint if hand and not (withdraw or now) else ''}")


COMMANDS = (status, cancel, pause, resume, forget, stop)
"""In the order in which they are listed."""


def _turn(place: Place, command: str, *, paused: bool) -> None:
    """Begin or end a pause, and wait until it is so."""
    ask(place, command)
    if not until(lambda: snapshot(place)["paused"] is paused, _PATIENCE):
        raise _not_yet(place)


def _not_yet(place: Place) -> FedenvoyError:
    return FedenvoyError(f"{place} was told, but has not done it within {_PATIENCE:.0f} s; see `fedenvoy status`")
