"""What a status says, in keys and in words."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.errors import Exit
from fedenvoy.status import Status, written
from fedenvoy.status.gpus import Gpu, Gpus
from fedenvoy.status.model import Agent, Declined, Experiment, Link, Node, Retry, Review, Transition, Verdict
from fedenvoy.status.text import span
from fedenvoy.status.why import why_not_training
from fedenvoy_statecharts import Event, State

RUNNING = Agent(True, True, 4711, "1.0", "s1", 1000.0, stopping=False)
DEAD = Agent(False, False, None, None, "s1", 1000.0, stopping=False)
E, S = Event, State
MIG = "MIG-7c1d0b2e-5a2e-5111-9222-333344445555"


def step(
    event: Event, target: State, cause: str = "", *, experiment: str = "", source: State | None = None
) -> Transition:
    return Transition(1990.0, "s1", source and source.value, event.value, target.value, experiment, 0, cause, "")


LAST: dict[State, Transition] = {
    S.DISCONNECTED: step(E.STARTED, S.DISCONNECTED),
    S.REGISTERED: step(E.REGISTRATION_ACCEPTED, S.REGISTERED),
    S.IDLE: step(E.HEALTH_CHECKED, S.IDLE),
    S.REVIEWING_PLAN: step(E.EXPERIMENT_OFFERED, S.REVIEWING_PLAN, experiment="exp"),
    S.INSTALLING_REQUIREMENTS: step(E.PLAN_APPROVED, S.INSTALLING_REQUIREMENTS, experiment="exp"),
    S.TRAINING: step(E.PLAN_APPROVED, S.TRAINING, experiment="exp"),
    S.REPORTING: step(E.TRAINING_FAILED, S.REPORTING, experiment="exp"),
    S.STOPPED: step(E.STOP_REQUESTED, S.STOPPED),
}


def why(state: State | None, last: Transition | None = None, **changes: Any) -> str | None:
    facts: dict[str, Any] = {"agent": RUNNING, "paused": False, "ended": None, "dialled": True, "outbox": ()}
    last = last or (LAST[state] if state else None)
    return why_not_training(state=state.value if state else None, last=last, **(facts | changes))


def test_every_state_has_its_sentence() -> None:
    sentences = {state: why(state) for state in State}
    assert sentences == {
        S.DISCONNECTED: "the director is being dialled",
        S.REGISTERED: "the director accepted this shard, and has not answered the first health check yet",
        S.IDLE: "the director offers no experiment",
        S.REVIEWING_PLAN: "experiment 'exp' is being downloaded, checked and reviewed",
        S.INSTALLING_REQUIREMENTS: "the environment of experiment 'exp' is being built",
        S.TRAINING: None,
        S.REPORTING: "a verdict is being told to the director",
        S.STOPPED: "the agent is ending",
    }


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (
            step(E.REGISTRATION_FAILED, S.DISCONNECTED, "UNAVAILABLE: nobody listens"),
            "could not be reached: UNAVAILABLE",
        ),
        (step(E.REGISTRATION_REFUSED, S.DISCONNECTED, "shapes"), "does not accept this shard: shapes"),
        (step(E.LINK_REJECTED, S.DISCONNECTED, "TLS"), "rejects this link: TLS"),
        (step(E.DIRECTOR_LOST, S.DISCONNECTED), "link to the director was lost"),
        (step(E.SHARD_FORGOTTEN, S.DISCONNECTED), "no longer knew this shard"),
        (step(E.POLL_FAILED, S.DISCONNECTED, "x"), "waiting for offers failed again and again"),
        (step(E.REPORT_DELIVERED, S.DISCONNECTED), "is being dialled"),
    ],
    ids=lambda case: case.event if isinstance(case, Transition) else "",
)
def test_without_a_link_the_reason_is_the_last_failure(last: Transition, expected: str) -> None:
    assert expected in (why(S.DISCONNECTED, last) or "")


def test_what_else_can_be_the_reason() -> None:
    assert "shard descriptor is being described" in (why(S.DISCONNECTED, dialled=False) or "")
    assert "`fedenvoy resume`" in (why(S.IDLE, paused=True) or "")
    declined = step(
        E.EXPERIMENT_OFFERED, S.IDLE, "declined: it finished here; looked at again in 4 s", experiment="exp"
    )
    assert why(S.IDLE, declined) == ("the last offer, 'exp', was declined: it finished here")
    assert why(S.IDLE, step(E.POLL_FAILED, S.IDLE, "UNKNOWN: oops")) == (
        "waiting for offers failed, and is tried again: UNKNOWN: oops"
    )
    waiting = (Verdict("exp", "failed", "x", 5.0),)
    assert why(S.REPORTING, outbox=waiting) == "the verdict on experiment 'exp' (failed) is being told to the director"
    stopping = Agent(True, True, 1, "1", "s", 1.0, stopping=True)
    assert why(S.INSTALLING_REQUIREMENTS, agent=stopping) == "the agent is stopping"
    assert why(S.TRAINING, agent=stopping) is None
    assert why(None) == "the agent has only just been started"


def test_a_dead_agent_s_reason_is_how_it_ended() -> None:
    assert "no agent has worked" in (why(None, agent=DEAD) or "")
    assert "killed, or this machine went down, in Training" in (why(S.TRAINING, agent=DEAD) or "")
    for code in Exit:
        sentence = why(S.STOPPED, agent=DEAD, ended=int(code)) or ""
        assert f"exit code {code.value}, " in sentence
    refused = step(E.REGISTRATION_REFUSED, S.STOPPED, "the shapes differ")
    assert (why(S.STOPPED, refused, agent=DEAD, ended=5) or "").endswith("(the shapes differ)")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7980, "2 h 13 min"),
        (86400 * 4 + 3700, "4 d 1 h"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words


def full() -> Status:
    return Status(
        at=10_000.0,
        node=Node("one", "d:1", "/state/one"),
        agent=RUNNING,
        state="Training",
        since=4000.0,
        experiment=Experiment("exp", 3, 3990.0, 6010.0),
        review=Review("ab" * 32, 9900.0, 10_060.0, 1, 2, "by the rule 'large'"),
        link=Link(False, 9000.0, 3),
        retry=Retry("dial", 10_012.0, 12.0),
        outbox=(Verdict("old", "failed", "text", 9940.0),),
        declined=(Declined("bad", "failed here", 10_040.0), Declined("worse", "failed here", None)),
        paused=True,
        transitions=tuple(LAST.values()),
        not_training=None,
        problems=("something is odd",),
        gpus=Gpus(
            (
                gpu(),
                gpu(device=1, name="", memory_total=None, memory_used=None, lost=True),
                gpu(
                    device=MIG,
                    utilization=None,
                    temperature=None,
                    power=None,
                    unsupported=("load", "utilization"),
                    failures=(("temperature", "no permission"),),
                ),
            ),
            age=3.0,
            shared="GPU-1 by another agent (process 7)",
        ),
        isolation="sandbox",
    )


def gpu(**changes: Any) -> Gpu:
    return replace(
        Gpu(0, "NVIDIA H100", "GPU-1", 80 * 2**30, 12 * 2**30, 37, 54, 351.5, ("power cap",), 2, 79, 1, False, (), ()),
        **changes,
    )


def test_the_text_for_people() -> None:
    text = written(full())
    lines = {line.strip().partition("  ")[0]: " ".join(line.split()) for line in text.splitlines()}
    assert text.splitlines()[0] == "one at d:1: Training"
    assert lines["agent"] == "agent process 4711, version 1.0, for 2 h 30 min"
    assert lines["experiment"] == "experiment 'exp', run 3, for 1 h 40 min"
    assert "1 of 2, rejected in 1 min; by the rule 'large'" in lines["review"]
    assert "down, 3 health checks missed; last health check" in lines["link"]
    assert lines["next retry"] == "next retry dial in 12 s"
    assert lines["outbox"] == "outbox 'old' failed, for 1 min"
    assert "'bad' for 40 s: failed here" in text
    assert "'worse' until it changes: failed here" in text
    assert lines["paused"] == "paused yes"
    assert lines["isolation"] == "isolation sandbox"
    assert lines["problem"] == "problem something is odd"
    assert lines["gpu 0"] == (
        "gpu 0 NVIDIA H100, 12.0 of 80.0 GiB, 37 %, 54 °C, 352 W, 3 s ago, slowed down by power cap, "
        "2 uncorrected memory errors, critical error Xid 79"
    )
    assert lines["gpu 1"] == "gpu 1 unknown GPU, lost: it has fallen off the bus"
    assert lines["gpu"].startswith(f"gpu {MIG}, NVIDIA H100, 12.0 of 80.0 GiB, 3 s ago, ")
    assert lines["gpu"].endswith("; not supported: load, utilization; unknown: temperature (no permission)")
    assert lines["gpu in use"] == "gpu in use GPU-1 by another agent (process 7)"
    assert "not training" not in text
    assert sum("-->" in line for line in text.splitlines()) == len(LAST)


def test_nothing_from_outside_reaches_a_terminal_as_it_is() -> None:
    evil = "\x1b[2J\n\u202eevil"
    status = full()
    hostile = Status(
        **{
            **{name: getattr(status, name) for name in Status.__slots__},
            "node": Node(evil, evil, evil),
            "experiment": Experiment(evil, 1, 1.0, 1.0),
            "review": Review("ab" * 32, 1.0, 1.0, 0, 1, evil),
            "outbox": (Verdict(evil, "failed", evil, 1.0),),
            "declined": (Declined(evil, evil, None),),
            "transitions": (step(E.EXPERIMENT_OFFERED, S.IDLE, evil, experiment=evil),),
            "not_training": evil,
            "problems": (evil,),
            "isolation": evil,
        }
    )
    text = written(hostile)
    assert all(line.isprintable() for line in text.splitlines())
    json.dumps(hostile.as_dict())


def test_the_page_describes_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "control.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    found = full().as_dict()
    assert table.keys() >= found.keys()
    for key, value in found.items():
        for one in value[:1] if isinstance(value, tuple) else [value]:
            for inner in one if isinstance(one, dict) else ():
                assert f"`{inner}`" in table[key], f"{key}.{inner}"


def test_the_keys_are_those_of_version_1() -> None:
    """Whoever changes one of them changes what programs read: a new version, or a key beside the old ones."""

    def keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: keys(one) for name, one in value.items()}
        return [keys(value[0])] if isinstance(value, (list, tuple)) and value else None

    found = full().as_dict()
    assert found["version"] == 1
    assert {name: keys(value) for name, value in found.items()} == {
        "version": None,
        "at": None,
        "node": dict.fromkeys(("shard_name", "director", "directory")),
        "agent": dict.fromkeys(("running", "answering", "pid", "version", "session", "started", "stopping")),
        "state": None,
        "since": None,
        "experiment": dict.fromkeys(("name", "run", "since", "age")),
        "review": dict.fromkeys(("id", "since", "deadline", "approvals", "needed", "why")),
        "link": dict.fromkeys(("up", "last_contact", "misses")),
        "retry": dict.fromkeys(("what", "at", "seconds")),
        "outbox": [dict.fromkeys(("experiment", "verdict", "text", "since"))],
        "declined": [dict.fromkeys(("experiment", "why", "until"))],
        "paused": None,
        "transitions": [
            dict.fromkeys(("at", "session", "source", "event", "target", "experiment", "attempt", "cause", "outcome"))
        ],
        "not_training": None,
        "problems": [None],
        "gpus": {
            "devices": [
                dict.fromkeys(
                    [
                        "device",
                        "name",
                        "uuid",
                        "memory_total",
                        "memory_used",
                        "utilization",
                        "temperature",
                        "power",
                        "throttle",
                        "ecc_uncorrected",
                        "xid",
                        "processes",
                        "lost",
                        "unsupported",
                        "failures",
                    ]
                )
                | {"throttle": [None]}
            ],
            "age": None,
            "overdue": None,
            "error": None,
            "shared": None,
        },
        "isolation": None,
    }
