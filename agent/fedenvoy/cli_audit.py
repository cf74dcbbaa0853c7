"""The commands of `fedenvoy audit`: what a node's journal tells an auditor, of a living node, a dead one, or a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fedenvoy.cli_errors import Command, Group
from fedenvoy.cli_nodes import find, which_node
from fedenvoy.errors import AbsentError, ConfigurationError

if TYPE_CHECKING:
    from fedenvoy.audit.choice import Choice
    from fedenvoy.audit.sheet import Sheet
    from fedenvoy.store.trail import Trail

__all__ = ["audit"]

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)
_VERDICTS = ("finished", "failed", "rejected", "cancelled", "orphaned")
_JOURNAL = "journal.sqlite3"
_MOST_NAMES = 5


@click.group(cls=Group)
def audit() -> None:
    """Show what a node did, in what order, and who decided: its journal, for those who must account for it."""


def _period_options(command: F) -> F:
    for option in (
        click.option("--until", metavar="TIME", help="Records before then; a date alone: to the end of that day."),
        click.option("--since", metavar="TIME", help="Records from then on: 2026-05-12, 2026-05-12T08:30 (UTC), 7d."),
    ):
        command = option(command)
    return command


def _choice_options(command: F) -> F:
    for option in (
        click.option("--person", metavar="TEXT", help="Runs that somebody of this name or identity decided about."),
        click.option("--verdict", type=click.Choice(_VERDICTS), help="Runs that ended so."),
        click.option("--experiment", metavar="NAME", help="Records that speak of it."),
    ):
        command = option(command)
    return _period_options(command)


def _trail_options(command: F) -> F:
    option = click.option(
        "--file", "file", type=_PATH, help="A journal's file, such as a copy; then no node is looked for."
    )
    return which_node(option(command))


_out_option = click.option("--out", type=_PATH, help="Write to this file instead of the standard output.")


@audit.command(cls=Command)
@_trail_options
@_choice_options
@click.option("--all", "everything", is_flag=True, help="Also the steps within a state, such as health checks.")
def show(everything: bool, file: Path | None, since: str | None, until: str | None, **options: Any) -> None:
    """Show records for people: sessions, steps, decisions, verdicts. Times are in UTC.

    \b
    Example:
      fedenvoy audit show --since 7d --verdict failed
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from fedenvoy.audit.listing import listing  # noqa: PLC0415
    from fedenvoy.audit.runs import Runs  # noqa: PLC0415

    choice, which = _choice(since, until, options)
    with _opened(file, which) as (trail, _):
        runs = Runs.of(trail)
        _known(choice, runs.names())
        shown = hidden = 0

        def chosen() -> Iterator[Any]:
            nonlocal shown, hidden
            for entry in choice.entries(trail, runs):
                if entry.internal and not everything:
                    hidden += 1
                    continue
                shown += 1
                yield entry

        for line in listing(chosen(), {one.id: one for one in trail.sessions()}):
            click.echo(line)
    more = f"; {hidden} within a state are left out (--all)" if hidden else ""
    click.echo(f"\n{shown} record{'' if shown == 1 else 's'}{more}" if shown or hidden else "no record fits")


@audit.command(cls=Command)
@_trail_options
@_choice_options
@click.option("--format", "name", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@_out_option
def export(
    name: str, out: Path | None, file: Path | None, since: str | None, until: str | None, **options: Any
) -> None:
    """Write records for other programs, oldest first; every field, and the verdict and decision of the run.

    \b
    Example:
      fedenvoy audit export --format csv --since 2026-01-01 --out journal.csv
    """  # noqa: D301
    from fedenvoy.audit.exporting import as_csv, as_json_lines  # noqa: PLC0415
    from fedenvoy.audit.runs import Runs  # noqa: PLC0415

    choice, which = _choice(since, until, options)
    with _opened(file, which) as (trail, _):
        runs = Runs.of(trail)
        _known(choice, runs.names())
        entries = choice.entries(trail, runs)
        _write((as_csv if name == "csv" else as_json_lines)(entries, runs), out)


@audit.command(cls=Command)
@_trail_options
@_period_options
@click.option("--experiment", metavar="NAME", help="The experiment whose way is drawn: its last run.")
@click.option("--run", "run_id", metavar="ID", help="Another run of it, by the id that its sheet and `show` give.")
@click.option("--summary", is_flag=True, help="Instead: how often and how long each state and step in the period.")
@click.option("--format", "name", type=click.Choice(["svg", "mermaid"]), default="svg", show_default=True)
@_out_option
def diagram(
    *,
    experiment: str | None,
    run_id: str | None,
    summary: bool,
    name: str,
    out: Path | None,
    file: Path | None,
    since: str | None,
    until: str | None,
    **which: Any,
) -> None:
    """Draw the chart with the way that a run took: times, who decided, digests. The SVG is a sheet of A4.

    \b
    Examples:
      fedenvoy audit diagram --experiment brain_tumours_2 --out brain.svg
      fedenvoy audit diagram --summary --since 30d --out may.svg
    """  # noqa: D301
    if summary == (experiment is not None):
        raise click.UsageError("say what is drawn: either --experiment NAME, or --summary")
    choice, which = _choice(since, until, which)
    with _opened(file, which) as (trail, node):
        sheet = _summary(trail, node, choice) if summary else _run(trail, node, experiment or "", run_id, choice)
    if name == "svg":
        from fedenvoy.audit.sheet import svg as drawn  # noqa: PLC0415
    else:
        from fedenvoy.audit.as_mermaid import mermaid as drawn  # noqa: PLC0415
    _write([drawn(sheet).rstrip("\n")], out)


def _summary(trail: Trail, node: str, choice: Choice) -> Sheet:
    from fedenvoy.audit.period_sheet import period_sheet  # noqa: PLC0415
    from fedenvoy.audit.periods import Period  # noqa: PLC0415
    from fedenvoy.audit.runs import Runs  # noqa: PLC0415

    sessions = {session.id: session for session in trail.sessions()}
    period = Period.of(trail.every(), sessions, choice.since, choice.until)
    return period_sheet(period, Runs.of(trail), node)


def _run(trail: Trail, node: str, experiment: str, run_id: str | None, choice: Choice) -> Sheet:
    from fedenvoy.audit.run_sheet import run_sheet  # noqa: PLC0415
    from fedenvoy.audit.runs import Runs  # noqa: PLC0415
    from fedenvoy.audit.way import way_of  # noqa: PLC0415

    runs = Runs.of(trail)
    every = runs.named(experiment)
    if not every:
        raise AbsentError(_unknown(experiment, runs.names()))
    meant = [run for run in every if choice.within(run.began) and run_id in {None, run.id}]
    if not meant:
        what = f"{run_id} is no run of {experiment!r} in this journal" if run_id else f"{experiment!r} was not run then"
        raise AbsentError(f"{what}; its runs are {', '.join(run.id for run in every[-_MOST_NAMES:])}")
    run = meant[-1]
    sessions = {session.id: session for session in trail.sessions()}
    return run_sheet(run, way_of(trail, run), sessions[run.session], node, len(every) - 1)


def _choice(since: str | None, until: str | None, options: dict[str, Any]) -> tuple[Choice, dict[str, Any]]:
    """Separate what is asked for from which node is meant."""
    from fedenvoy.audit.choice import Choice  # noqa: PLC0415
    from fedenvoy.audit.moments import parse  # noqa: PLC0415

    which = dict(options)
    asked = {name: which.pop(name, None) for name in ("experiment", "verdict", "person")}

    def time(name: str, text: str | None) -> float | None:
        try:
            return None if text is None else parse(text, end=name == "until")
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=f"--{name}") from None

    return Choice(**asked, since=time("since", since), until=time("until", until)), which


@contextmanager
def _opened(file: Path | None, which: dict[str, Any]) -> Iterator[tuple[Trail, str]]:
    """Open the journal that is meant; give it, and whose it is."""
    from fedenvoy.store.trail import open_trail  # noqa: PLC0415

    if file is not None:
        with open_trail(file) as trail:
            yield trail, str(file)
        return
    place = find(**which)
    path = place.directory / _JOURNAL
    if not path.exists():
        raise AbsentError(f"{place} has no journal yet: it has not been started")
    with open_trail(path) as trail:
        yield trail, str(place)


def _known(choice: Choice, names: list[str]) -> None:
    """Refuse an experiment that the journal does not name."""
    if choice.experiment is not None and choice.experiment not in names:
        raise AbsentError(_unknown(choice.experiment, names))


def _unknown(experiment: str, names: list[str]) -> str:
    from fedenvoy.logs import bounded, escape  # noqa: PLC0415

    if not names:
        return f"this journal tells of no experiment {experiment!r}, nor of any other"
    last = ", ".join(f"'{bounded(escape(name), 60)}'" for name in names[-_MOST_NAMES:])
    some = f"its last {_MOST_NAMES} are {last}" if len(names) > _MOST_NAMES else f"there are {last}"
    return f"this journal tells of no experiment {experiment!r}; {some}"


def _write(lines: Iterable[str], out: Path | None) -> None:
    if out is None:
        for line in lines:
            click.echo(line)
        return
    try:
        with out.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise ConfigurationError(f"{out}: cannot be written: {error.strerror}") from None
