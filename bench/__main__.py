"""`python -m bench`, from the project's directory: takes measurements, or writes what was recorded into the tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from bench import records, report
from bench.parts import PARTS

ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure fedenvoy beside OpenFL 1.6.")
    parser.add_argument("what", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all), or: report")
    parser.add_argument("--runs", type=int, default=5, help="samples of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=records.RESULTS, help="directory of the results")
    parser.add_argument("--cache", type=Path, default=ROOT / ".tox" / "bench", help="where the environments are kept")
    parser.add_argument("--quiet", type=float, metavar="LOAD", help="wait before each part until the load is below")
    parser.add_argument("--patience", type=float, default=2400, help="seconds to wait for that (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="report: write nothing, name the files that are stale")
    args = parser.parse_args(arguments)
    if "report" in args.what:
        return _report(args.out, check=args.check)
    for unknown in sorted(set(args.what) - set(PARTS)):
        parser.error(f"there is no part {unknown!r}; there are {', '.join(PARTS)} and report")
    if args.runs < 1:
        parser.error("--runs must be at least 1")
    _measure(args)
    return 0


def _report(directory: Path, *, check: bool) -> int:
    try:
        stale = report.update(ROOT, records.read_all(directory, PARTS), check=check)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for name in stale:
        print(f"{name} {'is not what the results give; run: python -m bench report' if check else 'is up to date now'}")
    return 1 if check and stale else 0


def _measure(args: argparse.Namespace) -> None:
    # Loaded here: `report` works without fedenvoy and its dependencies.
    from bench.bed import Bed  # noqa: PLC0415
    from bench.environments import prepare  # noqa: PLC0415
    from bench.machine import Before, conditions, wait_until_quiet  # noqa: PLC0415

    environments = prepare(args.cache)
    for part in [part for part in PARTS if part in (args.what or PARTS)]:
        module = import_module(f"bench.parts.{part}")
        if args.quiet is not None and not wait_until_quiet(args.quiet, args.patience):
            print(f"{part}: the machine did not become quiet; see load_before in the result", file=sys.stderr)
        before = Before()
        with tempfile.TemporaryDirectory(prefix="fedenvoy-bench-") as place:
            series = module.measure(Bed(environments, Path(place), args.runs))
        told = conditions(
            before,
            environments.fedenvoy,
            fedenvoy=environments.fedenvoy_versions,
            openfl=environments.openfl_versions,
        )
        result = records.Result(part, told, series)
        path = records.write(result, args.out)
        print(report.tables([result]), f"recorded in {path}\n", sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
