"""What a demo shows: a live table on a terminal, plain lines everywhere else. Knows the nodes' views, not the nodes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from fedenvoy_statecharts import Event, State

from fedenvoy.demo.nodes import NodeView

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

__all__ = ["LiveView", "PlainView", "View", "open_view", "print_result"]

_COLOURS = {
    "Disconnected": "red",
    "Registered": "yellow",
    "Idle": "green",
    "ReviewingPlan": "cyan",
    "InstallingRequirements": "cyan",
    "Training": "bold magenta",
    "Reporting": "blue",
    "Stopped": "dim",
}


class View(Protocol):
    """Where a demo tells what happens; a context manager."""

    def say(self, text: str) -> None:
        """Tell a step of the demo itself."""

    def show(self, nodes: Mapping[str, NodeView]) -> None:
        """Tell where every node is now."""

    def __enter__(self) -> View: ...  # noqa: PYI034 - Self is newer than Python 3.10

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def open_view(console: Console) -> View:
    """Choose the view that fits where the console writes to."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class PlainView:
    """One line for every step and every change of a node's state; for files, pipes and dumb terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._told: dict[str, tuple[str, ...]] = {}

    def say(self, text: str) -> None:
        """Write the step."""
        self._write(text)

    def show(self, nodes: Mapping[str, NodeView]) -> None:
        """Write the states that are new."""
        for name, node in nodes.items():
            new = node.path[len(self._told.get(name, ())) :]
            self._told[name] = node.path
            for state in new:
                because = f"  ({node.event})" if state == new[-1] and node.event else ""
                self._write(f"{name}: {state}{because}")

    def _write(self, text: str) -> None:
        line = f"{time.monotonic() - self._start:6.1f} s  {text}"
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def __enter__(self) -> PlainView:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveView:
    """A table that is drawn again as the nodes go on, under the steps that were said."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._nodes: dict[str, NodeView] = {}
        self._since: dict[str, float] = {}
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Write the step above the table."""
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Text(f"{self._elapsed():6.1f} s  ", "dim").append(text, "default not dim"))

    def show(self, nodes: Mapping[str, NodeView]) -> None:
        """Draw the table again."""
        for name, node in nodes.items():
            before = self._nodes.get(name)
            if before is None or before.state != node.state:
                self._since[name] = time.monotonic()
        if self._nodes != nodes:
            self._nodes = dict(nodes)
            if self._live is not None:
                self._live.refresh()

    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def _table(self) -> RenderableType:
        from rich.box import ROUNDED  # noqa: PLC0415
        from rich.spinner import Spinner  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        if not self._nodes:
            return Text()
        # As wide as the longest words, so that the table stands still.
        table = Table("node", box=ROUNDED)
        table.add_column("state", min_width=max(map(len, State)))
        table.add_column("for", min_width=5, justify="right")
        table.add_column("because of", min_width=max(map(len, Event)))
        for name, node in self._nodes.items():
            state = Text(node.state, _COLOURS.get(node.state, ""))
            where = state if node.state else Spinner("dots", "starting")
            since = f"{time.monotonic() - self._since[name]:.0f} s"
            table.add_row(name, where, since, node.event)
        return table

    def __enter__(self) -> LiveView:  # noqa: PYI034
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=8, transient=True)
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        assert self._live is not None
        self._live.__exit__(kind, error, trace)


def print_result(
    console: Console, nodes: Iterable[NodeView], columns: Mapping[str, Mapping[str, str]], *, title: str
) -> None:
    """Write the path each node took, and a table of what came out.

    Args:
        console: Where to.
        nodes: Every node.
        columns: For each column's title, the cell of each node by name.
        title: What the table shows.

    """
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("node", box=SIMPLE_HEAD, title=title, title_justify="left", title_style="")
    for column in columns:
        table.add_column(column, justify="right")
    console.print()
    for node in nodes:
        console.print(f"{node.name} went through")
        path = Text(" -> ").join(Text(state, _COLOURS.get(state, "")) for state in node.path)
        if console.is_terminal:
            console.print(Padding(path, (0, 0, 0, 2)))
        else:
            console.print(Text("  ").append_text(path), soft_wrap=True)
        table.add_row(node.name, *(cells.get(node.name, "") for cells in columns.values()))
    console.print()
    console.print(table)
