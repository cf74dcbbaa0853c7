"""The command line: run one schedule and keep what it leaves, or run many.

python -m chaos --seed 123
python -m chaos --schedules 1000 --jobs 4 --out FILE
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from chaos.campaign import run_seeds
from chaos.schedule import draw
from chaos.storm import Outcome, run


@click.command(context_settings={"max_content_width": 110})
@click.option("--seed", type=int, help="Run the schedule of this seed, and say what it is.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="With --seed: where to leave everything."
)
@click.option("--schedules", type=click.IntRange(1), default=10, show_default=True, help="Run so many seeds.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="How many at a time.")
@click.option("--minutes", type=float, help="Begin none after so many minutes.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the result there, as JSON.")
def main(
    *,
    seed: int | None,
    keep: Path | None,
    schedules: int,
    first: int,
    jobs: int,
    minutes: float | None,
    out: Path | None,
) -> None:
    """Run the real agent among seeded schedules of real faults. The exit code is 1 when something went wrong."""
    if seed is not None:
        _show(seed, keep)
        return
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    campaign = run_seeds(range(first, first + schedules), jobs, until=until, keep=True, told=_tell)
    click.echo("\n".join(campaign.lines()))
    if out is not None:
        campaign.write(out)
    if campaign.wrong:
        raise SystemExit(1)


def _show(seed: int, keep: Path | None) -> None:
    schedule = draw(seed)
    click.echo(schedule.words())
    if keep is None:
        campaign = run_seeds([seed], keep=True)
        outcome = campaign.outcomes[0]
    else:
        outcome = run(schedule, keep.absolute())
    click.echo(f"{outcome.seconds:.1f} s, home after {outcome.home:.1f} s, {outcome.records} records")
    if outcome.wrong:
        click.echo("\n".join(f"WRONG {wrong}" for wrong in outcome.wrong))
        raise SystemExit(1)


def _tell(outcome: Outcome) -> None:
    words = "; ".join(outcome.wrong) or "well"
    click.echo(f"seed {outcome.seed}: {words} ({outcome.seconds:.1f} s, home after {outcome.home:.1f} s)")


if __name__ == "__main__":
    main()
