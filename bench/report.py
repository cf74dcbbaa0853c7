"""Writes the recorded results as tables, between two marks of a Markdown file. Standard library only.

No figure is typed by hand: a test runs `python -m bench report --check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.records import FEDENVOY, OPENFL, Conditions, Result, Series

__all__ = ["front_page", "replace_block", "tables", "update"]

BEGIN, END = "<!-- bench:start -->", "<!-- bench:end -->"


def update(root: Path, results: Sequence[Result], *, check: bool) -> list[str]:
    """Bring README.md and bench/README.md up to date; give the names of those that were not.

    Args:
        root: The project's directory.
        results: What was recorded.
        check: Only look.

    Raises:
        ValueError: A file has no marks.

    """
    stale = []
    for name, text in (("README.md", front_page(results)), ("bench/README.md", tables(results))):
        path = root / name
        before = path.read_text("utf-8")
        after = replace_block(before, text, name)
        if before != after:
            stale.append(name)
            if not check:
                path.write_text(after, "utf-8")
    return stale


def replace_block(text: str, block: str, name: str) -> str:
    """Give a file's text with what stands between the marks replaced.

    Raises:
        ValueError: The marks are not there, once each and in order.

    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in tail:
        raise ValueError(f"{name} must have one line {BEGIN} and below it one line {END}")
    return f"{head}{BEGIN}\n{block}{END}{tail}"


def front_page(results: Sequence[Result]) -> str:
    """Give the few lines of the project's front page."""
    lines = [f"| | {OPENFL} | {FEDENVOY} | ratio |", "|---|---|---|---|"]
    for result in results:
        for series in result.series:
            ratio = series.ratio(OPENFL) if OPENFL in series.samples else None
            if series.headline:
                cells = [_figure(series, name) if name in series.samples else "" for name in (OPENFL, FEDENVOY)]
                title = f"{series.title} ({series.aside})" if series.aside else series.title
                lines.append(f"| {title} | {cells[0]} | {cells[1]} | {'' if ratio is None else _proportion(ratio)} |")
    machines = sorted({_machine(result.conditions) for result in results})
    loads = [result.conditions.load_before for result in results]
    busy = f"load average {min(loads):.1f} to {max(loads):.1f} when each part began" if loads else "nothing recorded"
    lines += ["", f"Medians; {'; '.join(machines)}; {busy}."]
    return "\n".join(lines) + "\n"


def tables(results: Sequence[Result]) -> str:
    """Give all tables, one for each part."""
    lines: list[str] = []
    for result in results:
        lines += [f"### {result.part}", ""]
        lines += ["| measured | on | median | lowest to highest | samples | fedenvoy in proportion |"]
        lines += ["|---|---|---|---|---|---|"]
        for series in result.series:
            lines += _rows(series)
        lines += [""]
        lines += [f"{series.title}: {series.note}.\n" for series in result.series if series.note]
        lines += [_conditions(result.conditions), ""]
    return "\n".join(lines)


def _rows(series: Series) -> Iterator[str]:
    title = series.title
    for name, values in series.samples.items():
        ratio = series.ratio(name)
        spread = f"{_number(min(values), series.unit)} to {_number(max(values), series.unit)}"
        proportion = "" if ratio is None else _proportion(ratio)
        yield f"| {title} | {name} | {_figure(series, name)} | {spread} | {len(values)} | {proportion} |"
        title = ""


def _figure(series: Series, name: str) -> str:
    return f"{_number(series.median(name), series.unit)} {series.unit}".rstrip()


def _number(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value:.3f}" if value < 1 else f"{value:.2f}"
    return f"{value:.1f}" if unit else f"{value:g}"


def _proportion(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _machine(told: Conditions) -> str:
    return f"{told.cpu}, {told.cores} cores, Python {told.python}"


def _conditions(told: Conditions) -> str:
    return (
        f"Taken {told.date} on {_machine(told)}, {told.memory_gb} GB; load average {told.load_before:.2f} before and "
        f"{told.load_after:.2f} after. fedenvoy: {_versions(told.fedenvoy)}. OpenFL's side: {_versions(told.openfl)}."
    )


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
