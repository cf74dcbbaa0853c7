"""What a seed decides beforehand: the site's settings, what the users submit, and which faults there will be.

A schedule is data: it can be printed, and run again with a fault left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fedenvoy.config import AgentSettings, FetchSettings, LinkSettings, PollSettings, ReportSettings
from fedenvoy_statecharts import BUSY, WAITING, State

from simulation.kernel import Kernel

__all__ = ["FAULTS", "NAMES", "Archive", "Fault", "Schedule", "Submission", "draw_archive", "draw_schedule"]

NAMES = ("lung", "liver", "brain")
"""Few, so that new archives come under old names."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One version of an experiment, and what will become of it.

    Attributes:
        name: Under which it is submitted.
        digest: Tells it from all others.
        chunks: Pieces in which it is downloaded.
        corrupt: Whether it cannot be unpacked.
        review: What the reviewer says: "approve", "reject", or "raise" for a review callback that breaks.
        review_time: Seconds until then.
        install: What becomes of its environment: "" for none wanted, "ok", "broken" (its own fault), "network".
        install_time: Seconds until then.
        ending: What becomes of its process: "finish", "fail", "crash", "hang".
        training_time: Seconds until then.
        joined: Whether the process needs its aggregator, hence the director that began it.
        stubborn: Whether it must be killed, because asking it to end does not help.
        counts: Whether its good end is the end of the rounds for the director, which else offers it again.

    """

    name: str
    digest: str
    chunks: int = 2
    corrupt: bool = False
    review: str = "approve"
    review_time: float = 0.1
    install: str = ""
    install_time: float = 1.0
    ending: str = "finish"
    training_time: float = 5.0
    joined: bool = False
    stubborn: bool = False
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Submission:
    """A user submits an archive.

    Attributes:
        at: When, seconds.
        archive: Which.
        removed_after: Seconds after which the user takes it away again; None: never.

    """

    at: float
    archive: Archive
    removed_after: float | None = None

    def __str__(self) -> str:
        return f"at {self.at:.3f}, removed after {self.removed_after}: {self.archive}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: One of FAULTS.
        at: When, seconds from the beginning.
        lasts: Seconds that it goes on, where that has a meaning.
        amount: How bad, 0 to 1, where that has a meaning.
        state: Not simply at that time, but when the agent next enters this state; None: at that time.

    """

    kind: str
    at: float
    lasts: float = 0.0
    amount: float = 0.0
    state: State | None = None

    def __str__(self) -> str:
        when = f"at {self.at:.3f}" if self.state is None else f"on entering {self.state} after {self.at:.3f}"
        return f"{self.kind} {when}, lasts {self.lasts:.3f}, amount {self.amount:.3f}"


FAULTS: dict[str, tuple[int, float, float]] = {
    "restart": (6, 0.0, 60.0),
    "crash loop": (2, 5.0, 60.0),
    "outage": (4, 60.0, 400.0),
    "freeze": (3, 2.0, 200.0),
    "refuse": (2, 5.0, 120.0),
    "reject": (2, 2.0, 40.0),
    "vanish": (4, 2.0, 250.0),
    "reset": (4, 0.0, 0.0),
    "loss": (3, 10.0, 150.0),
    "slow": (3, 10.0, 150.0),
    "twice": (4, 10.0, 300.0),
    "errors": (3, 5.0, 100.0),
    "starve": (3, 10.0, 100.0),
    "full": (1, 5.0, 60.0),
    "child": (3, 0.0, 0.0),
    "stop": (6, 0.0, 0.0),
    "abort": (2, 0.0, 3.0),
    "cancel": (4, 0.0, 0.0),
    "store": (3, 0.0, 20.0),
    "kill": (3, 0.0, 0.0),
    "kill before a record": (3, 0.0, 0.0),
    "kill after a record": (3, 0.0, 0.0),
    "kill after a command": (2, 0.0, 0.0),
    "pause": (2, 1.0, 200.0),
    "forget": (2, 0.0, 0.0),
    "remove": (2, 0.0, 0.0),
    "renew": (6, 0.0, 0.0),
}
"""Every kind of fault: how often it is drawn, and the shortest and longest that it lasts, in seconds."""

_KINDS = tuple(kind for kind, (weight, _, _) in FAULTS.items() for _ in range(weight))
_STATES = (*WAITING, *(state for state in (*BUSY, State.REPORTING) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Schedule:
    """One history's beginning.

    Attributes:
        settings: The site's.
        horizon: When all faults are over, seconds.
        periods: Seconds between health checks that the director's successive lives want.
        ragged: Chance that a thread is held up for a while between two of its steps.
        mute: Whether the director's protocol has no failure report, as the one of OpenFL 1.7 to 1.9.
        describe_fails: Whether the first session's shard descriptor is unusable.
        submissions: What the users do.
        faults: What goes wrong.

    """

    settings: AgentSettings
    horizon: float
    periods: tuple[float, ...]
    ragged: float
    mute: bool
    describe_fails: bool
    submissions: tuple[Submission, ...]
    faults: tuple[Fault, ...]

    def without(self, left_out: frozenset[int]) -> Schedule:
        """Give the schedule with some faults left out, by position."""
        return replace(self, faults=tuple(f for i, f in enumerate(self.faults) if i not in left_out))

    def lines(self) -> list[str]:
        """Describe it, for the head of a trace."""
        s = self.settings
        settings = {
            "on_stop": s.on_stop,
            "drain": s.drain_timeout,
            "stop": s.stop_timeout,
            "orphan": s.orphan_timeout,
            "absence": s.on_director_loss,
            "grace": s.kill_grace,
            "refused": s.link.on_refused,
            "link tries": s.link.tries,
            "poll tries": s.poll.tries,
            "poll": s.poll.timeout,
            "fetch tries": s.fetch.tries,
            "fetch idle": s.fetch.idle_timeout,
            "report tries": s.report.tries,
        }
        return [
            f"horizon {self.horizon:.3f}, periods {self.periods}, ragged {self.ragged}",
            f"mute {self.mute}, shard fails {self.describe_fails}",
            "settings " + ", ".join(f"{name} {value}" for name, value in settings.items()),
            *(
                f"submission at {sub.at:.3f}: {sub.archive}, removed after {sub.removed_after}"
                for sub in self.submissions
            ),
            *(f"fault {number}: {fault}" for number, fault in enumerate(self.faults)),
        ]


def draw_archive(kernel: Kernel, name: str, version: int, *, hasty: bool = False) -> Archive:
    """Make up an archive; most are good. A hasty one is through within seconds."""
    pick, between = kernel.pick, kernel.between
    longest = 2.0 if hasty else 1000.0
    return Archive(
        name=name,
        digest=f"{name}-{version}",
        chunks=pick((1, 2, 3, 8)),
        corrupt=kernel.chance(0.06),
        review=pick(("approve",) * 12 + ("reject", "reject", "raise")),
        review_time=between(0.0, min(longest, pick((0.2, 5.0, 120.0)))),
        install=pick(("", "", "ok", "ok", "ok", "broken", "network")),
        install_time=between(0.1, min(longest, pick((2.0, 60.0)))),
        ending=pick(("finish", "finish", "finish", "finish", "fail", "fail", "crash", "hang")),
        training_time=between(0.1, min(longest, pick((2.0, 30.0, 200.0)))),
        joined=kernel.chance(0.6),
        stubborn=kernel.chance(0.4),
        counts=kernel.chance(0.9),
    )


def _draw_settings(kernel: Kernel) -> AgentSettings:
    pick = kernel.pick
    return AgentSettings(
        home=Path("/"),
        on_stop=pick(("leave", "report")),
        drain_timeout=pick((2.0, 5.0, 20.0, 600.0)),
        stop_timeout=pick((2.0, 10.0)),
        on_director_loss=pick((None, None, None, 45.0)),
        orphan_timeout=pick((20.0, 120.0)),
        kill_grace=pick((2.0, 10.0)),
        link=LinkSettings(
            tries=pick((2, 5)), call_timeout=10.0, settle=30.0, on_refused=pick(("retry", "retry", "retry", "exit"))
        ),
        poll=PollSettings(tries=pick((2, 5)), timeout=pick((60.0, 300.0))),
        fetch=FetchSettings(tries=pick((1, 3)), idle_timeout=pick((10.0, 60.0))),
        report=ReportSettings(tries=pick((1, 2, 5))),
    )


def _draw_faults(kernel: Kernel, horizon: float) -> tuple[Fault, ...]:
    """Some come alone, some upon the heels of others, some when the agent is in a certain state.

    Each schedule has only some of the kinds: where everything goes wrong, nothing goes far.
    """
    kinds = tuple(kernel.pick(_KINDS) for _ in range(kernel.pick((1, 2, 3, 4, 6, 10))))
    states = tuple(kernel.pick(_STATES) for _ in range(kernel.pick((1, 2, 4))))
    faults: list[Fault] = []
    at = 0.0
    for _ in range(kernel.pick((0, 1, 2, 3, 4, 5, 6, 8, 10, 14))):
        close = faults and kernel.chance(0.4)
        at = min(horizon, at + kernel.between(0.0, 6.0)) if close else kernel.between(0.0, horizon)
        kind = kernel.pick(kinds)
        _, shortest, longest = FAULTS[kind]
        lasts = kernel.between(shortest, kernel.pick((longest, shortest + (longest - shortest) / 10)))
        state = kernel.pick(states) if kernel.chance(0.5) else None
        faults.append(Fault(kind, at, lasts, kernel.rng.random(), state))
    return tuple(faults)


def _draw_submissions(kernel: Kernel, horizon: float) -> tuple[Submission, ...]:
    """A few experiments over the time; or a busy day, with many small ones that wait for each other."""
    if kernel.chance(0.15):
        small = (draw_archive(kernel, f"small-{version}", version, hasty=True) for version in range(12))
        return tuple(Submission(kernel.between(0.0, horizon * 0.5), archive) for archive in small)
    submissions = []
    for version in range(kernel.pick((1, 2, 3, 4, 6))):
        archive = draw_archive(kernel, kernel.pick(NAMES), version)
        removed = kernel.between(1.0, horizon) if kernel.chance(0.3) else None
        submissions.append(Submission(kernel.between(0.0, horizon * 0.8), archive, removed))
    return tuple(submissions)


def draw_schedule(kernel: Kernel) -> Schedule:
    """Draw a whole schedule from a fresh kernel's chance."""
    horizon = kernel.between(20.0, kernel.pick((100.0, 300.0, 900.0)))
    return Schedule(
        settings=_draw_settings(kernel),
        horizon=horizon,
        periods=tuple(kernel.pick((10.0, 20.0, 60.0, 60.0)) for _ in range(3)),
        ragged=kernel.pick((0.0, 0.01, 0.01, 0.25)),
        mute=kernel.chance(0.15),
        describe_fails=kernel.chance(0.01),
        submissions=_draw_submissions(kernel, horizon),
        faults=_draw_faults(kernel, horizon),
    )
