"""A program: node and director in two network namespaces, and a wire between them on which all packets vanish.

To be run as `unshare --user --map-root-user --net python -m chaos.namespace DIRECTORY`: no privilege is needed where
the system lets users have namespaces of their own. Prints what happened as JSON; nothing outside sees any of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedenvoy.testing import SandboxDirector

from chaos.agent import Agent, wait_for
from chaos.place import Place

__all__ = ["UNSHARE", "main"]

UNSHARE = ("unshare", "--user", "--map-root-user", "--net")
"""What gives a program a network of its own."""
HERE, THERE = "10.99.0.1", "10.99.0.2"
NOBODY = "02:00:00:00:00:99"
"""A hardware address that no card has: frames to it are dropped without a word, as on a switch that lost its table."""
TIME = 40.0


def run(*words: str) -> None:
    """Run a command of the system's."""
    subprocess.run(words, check=True)


@contextmanager
def other_network() -> Iterator[tuple[str, ...]]:
    """Make a second namespace that is wired to this one; give the words that run a command there."""
    keeper = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    try:
        ours = Path("/proc/self/ns/net").readlink()
        if not wait_for(lambda: Path(f"/proc/{keeper.pid}/ns/net").readlink() != ours, TIME):
            raise RuntimeError("no second namespace")
        inside = ("nsenter", "--target", str(keeper.pid), "--net")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "here0", "type", "veth", "peer", "name", "there0", "netns", str(keeper.pid))
        for before, device, address in (((), "here0", HERE), (inside, "there0", THERE)):
            run(*before, "ip", "address", "add", f"{address}/24", "dev", device)
            run(*before, "ip", "link", "set", device, "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        yield inside
    finally:
        keeper.kill()
        keeper.wait()


def lose_packets(inside: tuple[str, ...]) -> None:
    """Let nothing arrive any more, in either direction; neither side is told."""
    run("ip", "neigh", "replace", THERE, "lladdr", NOBODY, "dev", "here0", "nud", "permanent")
    run(*inside, "ip", "neigh", "replace", HERE, "lladdr", NOBODY, "dev", "there0", "nud", "permanent")


def find_packets(inside: tuple[str, ...]) -> None:
    """Let packets arrive again."""
    run("ip", "neigh", "del", THERE, "dev", "here0")
    run(*inside, "ip", "neigh", "del", HERE, "dev", "there0")


def main(root: Path) -> dict[str, Any]:
    """Lose all packets while the node is idle, find them again; give when what happened."""
    with (
        other_network() as inside,
        SandboxDirector(host=HERE, period=1.0) as director,
        Agent(Place(root), director.address.port, host=HERE, before=inside) as agent,
    ):
        agent.start()
        told: dict[str, Any] = {"idle": agent.wait_state("Idle", TIME)}
        before = len(agent.lines())
        told["lost_at"] = time.time()
        lose_packets(inside)
        told["noticed"] = agent.wait_event("director_lost", TIME, since=before)
        told["noticed_at"] = next(line.at for line in agent.lines() if line.event == "director_lost")
        told["retried"] = agent.wait_event("registration_failed", TIME, since=before)
        find_packets(inside)
        told["idle_again"] = agent.wait_state("Idle", TIME)
        told["exit_code"] = agent.stop()
        return told


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))), flush=True)
    os._exit(0)  # whatever gRPC still does must not hold the process
