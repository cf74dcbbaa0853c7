"""The command line: show one history with its trace, or run many.

python -m simulation --seed 123
python -m simulation --schedules 50000 --out FILE
"""

from __future__ import annotations

from pathlib import Path

import click

from simulation.campaign import Campaign, Case, cases_of, command, run_cases, shrink
from simulation.plants import PLANTS


def _kill(value: str | None) -> tuple[str, int] | None:
    """Read "before:12"."""
    when, _, number = (value or "").partition(":")
    if value is not None and (when not in {"before", "after"} or not number.isdecimal()):
        raise click.BadParameter(f"{value!r} is not of the form before:12 or after:12", param_hint="--kill")
    return (when, int(number)) if value is not None else None


def _numbers(value: str | None) -> frozenset[int]:
    """Read "0,3"."""
    words = value.split(",") if value else []
    if not all(word.isdecimal() for word in words):
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 0,3", param_hint="--without")
    return frozenset(map(int, words))


@click.command(context_settings={"max_content_width": 110})
@click.option("--seed", type=int, help="Show the history of this seed.")
@click.option("--kill", metavar="before:N|after:N", help="Kill the agent before or after that record, in addition.")
@click.option("--without", metavar="N,N,...", help="Leave out these faults of the schedule.")
@click.option("--plant", type=click.Choice(sorted(PLANTS)), help="Plant a mistake first.")
@click.option("--shrink", "smaller", is_flag=True, help="Leave out every fault that is not needed to go wrong.")
@click.option("--schedules", type=click.IntRange(1), default=2000, show_default=True, help="Run so many seeds.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--kills", type=click.IntRange(0), default=0, help="Kill at every record of so many of them.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes to run them in.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the result there, as JSON.")
def main(
    *,
    seed: int | None,
    kill: str | None,
    without: str | None,
    plant: str | None,
    smaller: bool,
    schedules: int,
    first: int,
    kills: int,
    jobs: int,
    out: Path | None,
) -> None:
    """Run the whole agent in simulation. The exit code is 1 when something went wrong."""
    if seed is not None:
        case = Case(seed, _kill(kill), _numbers(without), plant or "")
        _show(shrink(case) if smaller else case)
        return
    seeds = range(first, first + schedules)
    campaign = run_cases(cases_of(seeds, seeds[:kills]), jobs)
    _tell(campaign, out)


def _show(case: Case) -> None:
    history = case.run(traced=True)
    click.echo("\n".join(history.trace))
    click.echo(command(case))
    if history.wrong:
        raise SystemExit(1)


def _tell(campaign: Campaign, out: Path | None) -> None:
    click.echo("\n".join(campaign.lines()))
    if out is not None:
        campaign.write(out)
    if campaign.wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
