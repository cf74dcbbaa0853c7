"""`python -m fedenvoy_statecharts`: check a chart, draw it, and measure how sharp the checks are.

Exit codes: 0 all is well; 1 a property is broken, or a committed drawing is stale; 2 the question makes no sense.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fedenvoy_statecharts.checks import PROPERTIES, check
from fedenvoy_statecharts.checks.mutations import KINDS, Outcome, mutations, run
from fedenvoy_statecharts.lifecycle import LIFECYCLE
from fedenvoy_statecharts.model import Chart, ChartError
from fedenvoy_statecharts.render import FORMATS, SUFFIXES, render

__all__ = ["main"]

ALL = "all"
"""In place of a format: every one, as files in a directory."""


class _Refused(Exception):  # noqa: N818 - a sentence for the user, not a fault
    """What the user asked for makes no sense; the message says why, in one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line instead of with a whole page of usage."""
        raise _Refused(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give the exit code."""
    try:
        asked = _parser().parse_args(arguments)
        chart = _chart(asked.chart)
        code: int = asked.command(chart, asked)
    except BrokenPipeError:
        # The reader has seen enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _Refused as refused:
        sys.stderr.write(f"fedenvoy_statecharts: {refused}\n")
        return 2
    else:
        return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m fedenvoy_statecharts", description=__doc__)
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True, parser_class=_Parser)
    ours = {
        "check": (_check, "decide the twelve properties"),
        "render": (_render, "write the table or a drawing of it"),
        "mutate": (_mutate, "change the table in every single way, and count the changes that the checks notice"),
    }
    for name, (command, text) in ours.items():
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--chart", metavar="MODULE:NAME", help="another chart instead of the lifecycle")
        sub.set_defaults(command=command)
        if name == "render":
            sub.add_argument("--format", default="mermaid", metavar="FORMAT", help=f"{', '.join(FORMATS)}; or {ALL}")
            sub.add_argument("--out", type=Path, metavar="FILE", help="write here; with all: a directory")
            sub.add_argument("--check", action="store_true", help="write nothing; say whether --out is up to date")
    return parser


def _chart(name: str | None) -> Chart:
    if name is None:
        return LIFECYCLE
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _Refused(f"--chart takes MODULE:NAME, not {name!r}")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        chart = getattr(importlib.import_module(module), attribute)
    except ChartError as error:
        raise _Refused(f"the chart {name} contradicts itself: {error}") from None
    except Exception as error:  # noqa: BLE001 - the module is the user's; whatever it raises is told in one line
        raise _Refused(f"the chart {name} cannot be loaded: {type(error).__name__}: {error}") from None
    if not isinstance(chart, Chart):
        raise _Refused(f"{name} is no chart but {type(chart).__name__}")
    return chart


def _say(text: str) -> None:
    """Write to standard output, whatever its encoding would have been."""
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _check(chart: Chart, _asked: argparse.Namespace) -> int:
    try:
        report = check(chart)
    except ChartError as error:
        raise _Refused(str(error)) from None
    _say("".join(f"{line}\n" for line in report.lines()))
    _say(f"{report.configurations} configurations of the extended model, {report.steps} steps between them\n")
    return 0 if report.holds else 1


def _render(chart: Chart, asked: argparse.Namespace) -> int:
    if asked.format == ALL:
        return _render_all(chart, asked.out, only_check=asked.check)
    try:
        text = render(chart, asked.format)
    except ValueError as error:
        raise _Refused(str(error)) from None
    if asked.check and asked.out is None:
        raise _Refused("--check needs --out: the file to look at")
    if asked.check:
        return _stale([asked.out] if _read(asked.out) != text else [])
    if asked.out is None:
        _say(text)
    else:
        _write(asked.out, text)
    return 0


def _render_all(chart: Chart, directory: Path | None, *, only_check: bool) -> int:
    """Write or compare every format; a picture that was laid out from another table is stale in both cases."""
    if directory is None or not directory.is_dir():
        raise _Refused(f"--format {ALL} needs --out: a directory that exists")
    stale: list[Path] = []
    for format_, suffix in SUFFIXES.items():
        file = directory / f"lifecycle{suffix}"
        try:
            text = render(chart, format_)
        except ChartError:
            stale.append(file)
            continue
        if not only_check:
            _write(file, text)
        elif _read(file) != text:
            stale.append(file)
    return _stale(stale)


def _stale(files: list[Path]) -> int:
    for file in files:
        sys.stderr.write(f"fedenvoy_statecharts: {file} is not what the table says now; render it again\n")
    return 1 if files else 0


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write(file: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    handle, name = None, ""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode())
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except OSError as error:
        if name:
            with contextlib.suppress(OSError):
                Path(name).unlink()
        raise _Refused(f"cannot write {file}: {error.strerror}") from None


def _mutate(chart: Chart, _asked: argparse.Namespace) -> int:
    if not check(chart).holds:
        raise _Refused("the chart breaks a property already: see the command check")
    outcomes = [run(mutation) for mutation in mutations(chart)]
    survivors = [outcome for outcome in outcomes if outcome.noticed is None]
    _say(f"{len(outcomes) - len(survivors)} of {len(outcomes)} changes noticed\n")
    for kind in KINDS:
        mine = [outcome for outcome in outcomes if outcome.mutation.kind == kind]
        _say(f"  {kind:9} {sum(o.noticed is not None for o in mine)} of {len(mine)}\n")
    by = Counter(outcome.noticed for outcome in outcomes if outcome.noticed is not None)
    _say("by property: " + ", ".join(f"{number}: {by[number]}" for number in PROPERTIES if by[number]) + "\n")
    _say("survivors:\n" if survivors else "no survivors\n")
    _say("".join(f"  {_survivor(outcome)}\n" for outcome in survivors))
    return 0 if all(outcome.reason for outcome in survivors) else 1


def _survivor(outcome: Outcome) -> str:
    return f"{outcome.mutation.what}: {outcome.reason or 'NOBODY KNOWS WHY THIS WOULD BE RIGHT'}"
