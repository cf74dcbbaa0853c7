"""A whole node in a thread of the test, watched through its records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve
from fedenvoy.app.node import Node
from fedenvoy.commands import Record
from fedenvoy.config import AgentSettings, DirectorAddress, LinkSettings, NodeConfig, SandboxSettings, ShardSource
from fedenvoy.errors import Exit
from fedenvoy_statecharts import Event, State

HOME = Path(__file__).parent.parent
"""Where the children import `support.shards` from."""

SHARD = ShardSource("support.shards.NumbersShard", {"rank": 3})


class RunningNode:
    """One node; every wait has a deadline."""

    def __init__(self, config: NodeConfig, **options: Any) -> None:
        self.records: list[Record] = []
        self._changed = threading.Condition()
        self.node = Node(config, observe=self._observe, **options)
        self.code: Exit | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="node-under-test")

    def _observe(self, record: Record) -> None:
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self.code = self.node.run()
        except BaseException as error:
            self.error = error
        with self._changed:
            self._changed.notify_all()

    def start(self) -> RunningNode:
        self._thread.start()
        return self

    def wait(self, predicate: Callable[[list[Record]], bool], timeout: float = 40.0) -> list[Record]:
        """Wait until the records satisfy a predicate."""
        with self._changed:
            done = self._changed.wait_for(lambda: predicate(self.records) or self.error is not None, timeout)
            assert self.error is None, repr(self.error)
            assert done, "not seen: " + "; ".join(map(describe, self.records))
            return list(self.records)

    def wait_state(self, state: State, timeout: float = 40.0, *, times: int = 1) -> list[Record]:
        """Wait until a state was entered so many times."""
        return self.wait(lambda rs: sum(r.target is state and not r.internal for r in rs) >= times, timeout)

    def wait_event(self, event: Event, timeout: float = 40.0, *, times: int = 1) -> list[Record]:
        """Wait until an event was recorded so many times."""
        return self.wait(lambda rs: sum(r.event is event for r in rs) >= times, timeout)

    @property
    def path(self) -> list[State]:
        """The states entered, in order."""
        return [record.target for record in self.records if not record.internal]

    def count(self, event: Event) -> int:
        return sum(record.event is event for record in self.records)

    def join(self, timeout: float = 30.0) -> Exit:
        """Wait for the end and give the exit code."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the node did not end: " + "; ".join(map(describe, self.records[-12:]))
        if self.error is not None:
            raise self.error
        assert self.code is not None
        return self.code

    def stop(self, timeout: float = 30.0) -> Exit:
        self.node.stop()
        return self.join(timeout)


def describe(record: Record) -> str:
    return f"{record.source} --{record.event}--> {record.target} ({record.cause})"


def config(director: DirectorAddress, state: Path, *, shard_name: str = "node-1", **changes: Any) -> NodeConfig:
    """A node's configuration for tests: quick where the defaults are patient. `agent__x=...` changes a setting.

    Experiments may write beside a state directory that is called `state`: to tell a test something, or wait for it.
    """
    agent = AgentSettings(
        home=HOME,
        state_dir=state,
        kill_grace=2.0,
        stop_timeout=3.0,
        drain_timeout=5.0,
        link=LinkSettings(call_timeout=3.0),
        sandbox=SandboxSettings(write=(state.parent,) if state.name == "state" else ()),
    )
    own = {key.removeprefix("agent__"): value for key, value in changes.items() if key.startswith("agent__")}
    rest = {key: value for key, value in changes.items() if not key.startswith("agent__")}
    fields: dict[str, Any] = {"shard": SHARD, "install_requirements": True} | rest
    return NodeConfig(shard_name=shard_name, director=director, agent=evolve(agent, **own), **fields)


@contextmanager
def running(config: NodeConfig, **options: Any) -> Iterator[RunningNode]:
    """Run a node for the length of a block, and stop it at the end."""
    node = RunningNode(config, **options).start()
    try:
        yield node
    finally:
        node.node.stop()
        node.node.abort()
        node._thread.join(30)
        assert not node._thread.is_alive()


def elapsed_since(start: float) -> float:
    return time.monotonic() - start
