"""Everything that is outside the agent, in one place: it lives on when an agent dies, and starts the next one."""

from __future__ import annotations

from collections.abc import Callable

from fedenvoy.commands import Record
from fedenvoy_statecharts import State

from simulation.agent import Agent, Kills
from simulation.child import Nursery
from simulation.director import Director
from simulation.disk import Disk
from simulation.kernel import Kernel
from simulation.network import Network
from simulation.schedule import Schedule
from simulation.witness import Witness
from simulation.workshop import Site

__all__ = ["World"]


class World:
    """One history's world.

    Attributes:
        agent: The agent's present process; None between two.
        starving: Seconds by which threads may be held up.
        shard_broken: Whether the shard descriptor cannot be constructed.
        sessions: How many were begun.
        trouble_until: When the last fault so far is over.
        on_entered: Called when the agent has entered a state, on disk.

    """

    def __init__(self, kernel: Kernel, schedule: Schedule, kills: Kills, disk: Disk) -> None:
        self.kernel = kernel
        self.schedule = schedule
        self.network = Network(kernel)
        self.director = Director(kernel, self.network, schedule.periods)
        self.network.director = self.director
        self.disk = disk
        self.site = Site()
        self.nursery = Nursery(kernel, self.director)
        self.kills = kills
        self.witness = Witness(self)
        self.agent: Agent | None = None
        self.starving = 0.0
        self.shard_broken = schedule.describe_fails
        self.sessions = 0
        self.trouble_until = 0.0
        self.on_entered: Callable[[State], None] = lambda _state: None

    def hold_up(self) -> float:
        """Draw the seconds between a thread's look at its job and its message."""
        draw = self.kernel.rng.random
        delay = 0.002 * draw()
        if self.starving or draw() < self.schedule.ragged:
            delay += draw() * (self.starving or self.kernel.pick((0.5, 2.0, 10.0)))
        return delay

    def begin_session(self) -> None:
        """Start the agent, after what an earlier one has left was ended."""
        if self.agent is None:
            for child in list(self.nursery.alive):
                child.kill()
            self.sessions += 1
            session = f"s{self.sessions}"
            self.kernel.log("agent", "%s begins", session)
            self.witness.session_begins(session)
            self.agent = Agent(self, session)

    def gone(self, agent: Agent) -> None:
        """An agent's process is over; the service manager starts the next one."""
        self.witness.session_over(agent)
        self.agent = None
        self.shard_broken = False
        pause = self.kernel.between(0.5, self.kernel.pick((2.0, 30.0)))
        self.kernel.after(pause, self.begin_session)

    def entered(self, record: Record) -> None:
        """A record is on disk; entering a state may be what a fault waits for."""
        if not record.internal:
            self.on_entered(record.target)

    def step(self) -> None:
        """Let the next thing happen, and everything that is due with it; and look around."""
        agent = self.agent
        due = agent.next_due if agent is not None else None
        at = self.kernel.next_at
        if due is not None and (at is None or due < at):
            self.kernel.now = due
        else:
            self.kernel.happen()
        if self.agent is not None:
            self.agent.pump()
        self.witness.look()
