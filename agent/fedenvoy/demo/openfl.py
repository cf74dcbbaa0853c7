"""The demo with the real OpenFL 1.6: its director, its aggregation, two of our nodes, two rounds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedenvoy.demo.certificates import throwaway
from fedenvoy.demo.child import Child, Line
from fedenvoy.demo.deadline import DemoError
from fedenvoy.demo.environment import openfl_environment
from fedenvoy.demo.federation import Director, copy_files, read_outcome, scientist, serve
from fedenvoy.demo.nodes import NodeView, Site, start_node
from fedenvoy.demo.view import print_result

if TYPE_CHECKING:
    from fedenvoy.demo.stage import Stage

__all__ = ["play"]

NAMES = ("hospital-a", "hospital-b")
SAMPLES = (150, 250)


def play(stage: Stage, cache: Path) -> None:
    """Make the environment, start everything, wait for the director's "finished", show what came out, end everything.

    Args:
        stage: Where it plays.
        cache: Where the environment is kept from one demo to the next.

    Raises:
        DemoError: Something did not work, in one sentence.

    """
    with ExitStack() as stack:
        stack.enter_context(stage.view)
        stage.view.say(f"OpenFL 1.6 gets an environment of its own, kept in {cache}")
        python = openfl_environment(cache, stage.deadline)
        stage.view.say("OpenFL's director starts; everyone has a throwaway certificate")
        certificates = throwaway(stage.directory("certificates"), "localhost", "scientist", *NAMES)
        director = stack.enter_context(serve(python, stage.directory("director"), stage.deadline, certificates))
        nodes = [stack.enter_context(_node(stage, number, director)) for number in range(len(NAMES))]
        work = stage.directory("scientist")
        person = stack.enter_context(scientist(director, work, stage.deadline, nodes=NAMES, lines=stage.lines))

        def over(views: Mapping[str, NodeView]) -> bool:
            return person.exit_code is not None and all(node.done for node in views.values())

        stage.follow(nodes, over, waiting_for="the experiment", other=lambda line: _tell(stage, line))
        outcome = read_outcome(person)
        if outcome.status != "finished":
            raise DemoError(f"the director says {outcome.status!r}, expected 'finished'")
        stage.stop(nodes)
    print_result(
        stage.console,
        stage.nodes.values(),
        _columns(outcome.metrics),
        title="mean squared error on the points that each node held out",
    )


def _node(stage: Stage, number: int, director: Director) -> Child:
    name = NAMES[number]
    directory = copy_files(stage.directory(name), "plane_shard.py")
    params = {"seed": number + 1, "samples": SAMPLES[number]}
    # The experiments run in OpenFL's environment, so that nothing is installed for them.
    site = Site(name, directory, "plane_shard.PlaneShard", params, agent={"python": str(director.python)})
    return start_node(site, director.host, director.port, tls=director.certificates[name], lines=stage.lines)


def _tell(stage: Stage, line: Line) -> None:
    """Pass on what the scientist's script says; the rest of its output is OpenFL's own log."""
    if not line.text.startswith('{"event"'):
        return
    told: dict[str, Any] = json.loads(line.text)
    if told["event"] == "online":
        stage.view.say(f"online with the director: {', '.join(told['nodes'])}")
    elif told["event"] == "submitted":
        stage.view.say("two rounds are submitted; the director looks every 10 s")
    elif told["event"] == "status":
        stage.view.say(f"the director says: {told['status']}")


def _columns(metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, str]]:
    """Give one column for each moment of the experiment, in order: the error then, on the points each node held out."""
    columns: dict[tuple[int, str], dict[str, str]] = defaultdict(dict)
    for metric in metrics:
        before = metric["task_name"] == "aggregated_model_validate"
        after = metric["task_name"] == "locally_tuned_model_validate"
        if (before or after) and metric["metric_origin"] in NAMES:
            number = metric["round"]
            title = f"round {number} averaged" if number else "start"
            title = f"round {number + 1} trained" if after else title
            columns[2 * number + after, title][metric["metric_origin"]] = f"{metric['metric_value']:.3f}"
    return {title: cells for (_, title), cells in sorted(columns.items())}
