"""The scripts: what the director does, call by call, and how long it looks on. The nodes get the same of each.

None of them comes as far as a collaborator: that needs a whole federation, which the neighbouring tests have.
"""

from __future__ import annotations

import io
import signal
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from fedenvoy.testing import SandboxDirector
from interop.differential.stage import Observed, Site, Stage

__all__ = ["SCRIPTS", "Script"]

CHECK, POLL = "UpdateEnvoyStatus", "WaitExperiment"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def archive(**files: str) -> bytes:
    """Zip files, by name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name, text in files.items():
            zipped.writestr(name, text)
    return packed.getvalue()


PLAN = {
    "plan/plan.yaml": "aggregator: {settings: {}}\ncollaborator: {settings: {}}\nnetwork: {settings: {}}\n"
    "task_runner: {template: nowhere.Nobody}\n"
}
"""Passes for a plan until somebody wants to make a collaborator of it."""
GOOD = archive(**PLAN)
"""An experiment that can be reviewed, and no more."""
IMPOSSIBLE = archive(**PLAN, **{"requirements.txt": "numpy<1\nnumpy>2\n"})
"""An experiment whose requirements cannot be installed, with or without a network."""


@dataclass(frozen=True)
class Script:
    """One script.

    Attributes:
        name: What it is about; the table of differences refers to it.
        play: Plays it.
        site: What the node is started with.
        director: How the director is made.
        also: Further aspects that mean something in it: "pace" and "checks", of `Stage`.

    """

    name: str
    play: Callable[[Stage], None]
    site: Site = field(default_factory=Site)
    director: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()

    def observe(self, on: Stage) -> Observed:
        """Play it; give what was seen of the node, by aspect."""
        self.play(on)
        told = {"pace": on.pace, "checks": on.checks}
        return {**on.observed(), **{aspect: told[aspect]() for aspect in self.also}}

    def make_director(self) -> SandboxDirector:
        """Make the director; it does not listen yet."""
        return SandboxDirector(**{"period": 60.0, "sample_shape": ["4"], "target_shape": ["1"], **self.director})


# ---- Registering and staying alive


def registers(on: Stage) -> None:
    on.director.start()
    on.start()
    on.watch(2, 1, within=10)


def refused(on: Stage) -> None:
    on.director.start()
    on.start()
    on.watch(2, within=8)
    on.ends(3)


def paced(on: Stage) -> None:
    on.director.start()
    on.start()
    on.watch(2, 6, within=15)


def one_check_fails(on: Stage) -> None:
    on.director.start()
    on.start()
    on.director.wait_for_calls(CHECK)
    on.director.fail(CHECK, UNAVAILABLE)
    on.watch(2, 6, within=8)


def forgotten(on: Stage) -> None:
    on.director.start()
    on.start()
    on.at_rest()
    on.director.forget()
    on.watch(4, 4, within=6)


def poll_fails(on: Stage) -> None:
    on.director.fail(POLL, grpc.StatusCode.UNKNOWN, details="Unexpected <class 'AttributeError'>")
    on.director.start()
    on.start()
    on.watch(3, 1, within=15)


def director_not_up(on: Stage) -> None:
    on.start(registers=False)
    on.hears(original="Failed to report shard info", ours="registration_failed")
    on.ends(5 if on.is_original else 0)
    on.director.start()
    on.watch(2, 1, within=20)


def director_restarted(on: Stage) -> None:
    on.director.start()
    on.start()
    on.at_rest()
    on.director.stop()
    on.director.forget()
    time.sleep(2.5)  # how long it is down: the health check in between finds nobody
    on.director.start()
    on.watch(4, 4, within=15)


def signalled(number: signal.Signals) -> Callable[[Stage], None]:
    """Play an idle node that is asked to end."""

    def play(on: Stage) -> None:
        on.director.start()
        on.start()
        on.at_rest()
        on.node.signal(number)
        on.ends(5)
        on.look_on(2, seconds=3)

    return play


# ---- Experiments


def offered(archive: bytes, calls: int, within: float = 10.0, checks: int = 1) -> Callable[[Stage], None]:
    """Play an offer of an archive."""

    def play(on: Stage) -> None:
        on.director.start()
        on.director.offer("exp", archive, ["one"])
        on.start()
        on.watch(calls, checks, within=within)

    return play


def disturbed(disturb: Callable[[SandboxDirector], None]) -> Callable[[Stage], None]:
    """Play an offer whose first download meets a fault."""

    def play(on: Stage) -> None:
        on.director.start()
        on.director.offer("exp", archive(readme="nothing" * 500), ["one"])
        disturb(on.director)
        on.start()
        on.watch(6, 4, within=8)

    return play


def break_second_chunk(director: SandboxDirector) -> None:
    director.break_chunks(after_chunks=1)


def cut_second_chunk(director: SandboxDirector) -> None:
    director.cut_stream(1)


def withdrawn(on: Stage) -> None:
    on.director.start()
    on.director.offer("exp", GOOD, ["one"])
    on.director.remove("exp")
    on.start()
    on.watch(4, 4, within=10)


TWO = Site({"cuda_devices": [0, 1]})
INSTALL = {"install_requirements": True}
EACH_SECOND = {"period": 1.0}
IN_CHUNKS = {"period": 1.0, "chunk_size": 1000}
CHECKS, PACE = ("checks",), ("pace",)

SCRIPTS = (
    Script("a shard is accepted", registers),
    Script("two GPUs are configured", registers, TWO),
    Script("a shard is refused", refused, director={"sample_shape": ["5"]}),
    Script("health checks each second", paced, director=EACH_SECOND, also=PACE),
    Script("health checks twice a second", paced, director={"period": 0.5}, also=PACE),
    Script("one health check fails", one_check_fails, director=EACH_SECOND, also=CHECKS),
    Script("the director has forgotten the shard", forgotten, director=EACH_SECOND, also=CHECKS),
    Script("one poll fails", poll_fails),
    Script("the director is not up at start", director_not_up),
    Script("the director is restarted", director_restarted, director=EACH_SECOND, also=CHECKS),
    Script("SIGINT while idle", signalled(signal.SIGINT), director=EACH_SECOND, also=CHECKS),
    Script("SIGTERM while idle", signalled(signal.SIGTERM), director=EACH_SECOND, also=CHECKS),
    Script("the reviewer says no", offered(GOOD, 5), Site(review="no")),
    Script("the reviewer raises", offered(GOOD, 5), Site(review="raise")),
    Script("the archive has no plan", offered(archive(readme="nothing"), 5), Site(review="yes")),
    Script("the archive is empty", offered(b"", 5)),
    Script("the archive is no zip", offered(b"PK\x03\x04 or so they say", 5)),
    Script("the plan cannot be used", offered(GOOD, 5, within=40)),
    Script("requirements cannot be installed", offered(IMPOSSIBLE, 5, within=12), Site(INSTALL)),
    Script("review before an installation", offered(IMPOSSIBLE, 5, within=12), Site(INSTALL, review="no")),
    Script("a failed experiment is offered again", offered(b"no zip", 6, within=15), director={"reoffers": True}),
    Script("a chunk states a wrong size", disturbed(break_second_chunk), director=IN_CHUNKS, also=CHECKS),
    Script("a download is cut", disturbed(cut_second_chunk), director=IN_CHUNKS, also=CHECKS),
    Script("the experiment is gone", withdrawn, director=EACH_SECOND, also=CHECKS),
)
