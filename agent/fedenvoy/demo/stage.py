"""Where a demo plays: its directory, its deadline, its view, and the loop that follows the nodes' lines."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedenvoy.demo.child import Child, Line, Lines
from fedenvoy.demo.deadline import Deadline, DemoError
from fedenvoy.demo.nodes import NodeView, view_after
from fedenvoy.demo.view import View, open_view

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Stage"]


class Stage:
    """What every demo needs.

    Args:
        place: A directory of this run's own.
        deadline: The moment by which all must be over.
        console: Where it is shown.

    """

    def __init__(self, place: Path, deadline: Deadline, console: Console) -> None:
        self.place = place
        self.deadline = deadline
        self.console = console
        self.lines = Lines()
        self.view: View = open_view(console)
        self.nodes: dict[str, NodeView] = {}

    def directory(self, name: str) -> Path:
        """Make a directory under the stage's place."""
        path = self.place / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def follow(
        self,
        children: Sequence[Child],
        until: Callable[[Mapping[str, NodeView]], bool],
        *,
        waiting_for: str,
        other: Callable[[Line], None] = lambda _: None,
    ) -> None:
        """Show where the nodes are until `until` holds of them.

        Args:
            children: The nodes; each must keep running.
            until: Asked after every line, and every moment without one.
            waiting_for: Names it, for the message when time runs out.
            other: Gets the lines of children that are not nodes.

        Raises:
            DemoError: Time ran out, a node ended, or an experiment failed on one.

        """
        names = {child.name for child in children}
        self.nodes = {child.name: self.nodes.get(child.name, NodeView(child.name)) for child in children}
        while not until(self.nodes):
            self.view.show(self.nodes)
            left = self.deadline.check(f"{waiting_for}; {self._where()}")
            with contextlib.suppress(queue.Empty):
                line = self.lines.get(timeout=min(left, 0.2))
                if line.source in names:
                    self._take(line)
                else:
                    other(line)
                continue
            for child in children:
                if child.exit_code is not None:
                    raise DemoError(f"{child.name} ended with code {child.exit_code}: {child.tail()}")
        self.view.show(self.nodes)

    def stop(self, children: Sequence[Child]) -> None:
        """Ask every node to end, and take in what it says while it does.

        Raises:
            DemoError: A node ended otherwise than as asked.

        """
        codes = {child.name: child.stop() for child in children}
        with contextlib.suppress(queue.Empty):
            while True:
                line = self.lines.get_nowait()
                if line.source in codes:
                    self._take(line)
        self.view.show(self.nodes)
        for child in children:
            code = codes[child.name]
            if code != 0:
                raise DemoError(f"{child.name} was asked to end and ended with code {code}: {child.tail()}")

    def _take(self, line: Line) -> None:
        node = view_after(self.nodes[line.source], line.text)
        self.nodes[line.source] = node
        if node.trouble:
            raise DemoError(f"{node.name}: {node.trouble}")

    def _where(self) -> str:
        return ", ".join(f"{node.name} is {node.state or 'starting'}" for node in self.nodes.values())
