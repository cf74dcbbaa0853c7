"""A node's journal of three sessions, written by the real store: what an auditor could find at a hospital."""

from __future__ import annotations

import json
from pathlib import Path

from fedenvoy.commands import Record, Report, Verdict
from fedenvoy.store import Store
from fedenvoy_statecharts import LIFECYCLE, Event, State

__all__ = ["APPROVED", "BEGUN", "DIGEST", "LUNG", "Diary", "hospital"]

E, S = Event, State
BEGUN = 1_795_000_000.0
"""When the first session begins: 2026-11-18 11:06:40 UTC."""
DIGEST = "abcdef012345" + "e" * 52
LUNG = "lung \u00e9 <x>"
APPROVED = (
    "approved by Anna Berg [token anna] at 2026-11-18 09:12:44Z: as agreed on 12 May; Bo [uid 1000] at 2026-11-18 "
    "09:20:01Z: checked the code (held for a person by the rule 'new-code': not seen here before; policy.yaml), sha256 "
    "abcdef012345, lock 0123456789ab, policy fedcba987654, engine openfl"
)
_ROWS = {(str(row.source), row.event, row.goal): name for name, row in reversed(list(LIFECYCLE.named_rows()))}


class Diary:
    """Writes sessions, one step after the other, and keeps the numbers as the core would.

    Args:
        directory: The node's state directory.

    Attributes:
        now: Wall-clock seconds.

    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.now = BEGUN
        self._sessions = 0

    def begin(self) -> None:
        self._sessions += 1
        self._number = self._entry = self._run = self._runs = self._link = 0
        self._state: State | None = None
        self._name = self._digest = ""
        self.session = f"68cafe0{self._sessions}-0a0a0a0a"
        self.store = Store(self._directory, session=self.session, clock=lambda: self.now)
        self.store.begin()
        self.step(E.STARTED, S.DISCONNECTED)

    def step(self, event: Event, target: State, wait: float = 1.0, cause: str = "", **more: str) -> None:
        """Write a step from state to state, so many seconds after the last."""
        self._entry += 1
        self._write(event, target, wait, cause, internal=False, **more)

    def inside(self, event: Event, wait: float = 10.0, cause: str = "", times: int = 1) -> None:
        """Write steps within the state."""
        assert self._state is not None
        for _ in range(times):
            self._write(event, self._state, wait, cause, internal=True)

    def _write(
        self, event: Event, target: State, wait: float, cause: str, *, internal: bool, name: str = "", outcome: str = ""
    ) -> None:
        self.now += wait
        self._number += 1
        row = _ROWS.get((str(self._state), event, target), "")
        if event is E.EXPERIMENT_OFFERED and target is S.REVIEWING_PLAN:
            self._runs += 1
            self._run, self._name, self._digest = self._runs, name, ""
        if event in {E.PLAN_APPROVED, E.PLAN_REJECTED}:
            self._digest = DIGEST
        ends = self._run and target is S.REPORTING and not internal
        report = Report(f"{self.session}-{self._run}", self._name, Verdict.FAILED, 1, "x", DIGEST) if ends else None
        record = Record(
            number=self._number,
            entry=self._entry,
            run=self._run,
            link=self._link,
            row=row,
            source=self._state,
            event=event,
            target=target,
            internal=internal,
            experiment=self._name if self._run else name,
            digest=self._digest if self._run else "",
            cause=cause,
            report=report,
            outcome=outcome,
        )
        self.store.append(record)
        self._state = target
        self._run = 0 if ends else self._run

    def connect(self) -> None:
        self.inside(E.SHARD_DESCRIBED, 1.5, "isolation: sandbox")
        self.step(E.REGISTRATION_FAILED, S.DISCONNECTED, 2, "UNAVAILABLE: the director cannot be reached")
        self._link += 2
        self.step(E.REGISTRATION_ACCEPTED, S.REGISTERED, 4)
        self.step(E.HEALTH_CHECKED, S.IDLE, 0.5)

    def train(self, name: str, *, fails: bool) -> None:
        """Let an experiment be offered, approved by two people, installed, trained and told."""
        self.step(E.EXPERIMENT_OFFERED, S.REVIEWING_PLAN, 30, repr(name), name=name)
        self.inside(E.HEALTH_CHECKED, times=3)
        self.step(E.PLAN_APPROVED, S.INSTALLING_REQUIREMENTS, 5, APPROVED)
        self.step(E.REQUIREMENTS_READY, S.TRAINING, 60)
        self.inside(E.HEALTH_CHECKED, times=20)
        self.inside(E.HEALTH_MISSED, cause="UNAVAILABLE: no answer", times=3)
        if not fails:
            self.step(E.TRAINING_FINISHED, S.REPORTING, 50, "accuracy=0.913")
        else:
            self.step(E.TRAINING_FAILED, S.REPORTING, 50, "exception: ValueError: the scanner is upside down")
            self.step(E.REPORT_FAILED, S.REPORTING, 3, "UNAVAILABLE: no answer", name=name)
            self.step(E.REPORT_FAILED, S.DISCONNECTED, 3, "UNAVAILABLE: there is no channel")
            self._link += 1
            self.step(E.REGISTRATION_ACCEPTED, S.REGISTERED, 8)
            self.step(E.HEALTH_CHECKED, S.REPORTING, 0.5, name=name)
        self.step(E.REPORT_DELIVERED, S.IDLE, 0.25, name=name, outcome="sent")

    def refuse(self, name: str) -> None:
        """Let a policy reject an experiment."""
        self.step(E.EXPERIMENT_OFFERED, S.REVIEWING_PLAN, 5, repr(name), name=name)
        words = "rejected by the rule 'no-pickles': pickles are not looked at; policy.yaml"
        self.step(E.PLAN_REJECTED, S.REPORTING, 5, words)
        self.step(E.REPORT_DELIVERED, S.IDLE, 0.25, name=name, outcome="sent")

    def stop(self) -> None:
        self.step(E.STOP_REQUESTED, S.STOPPED, 20)
        self.store.close()


def hospital(root: Path) -> Diary:
    """Write the journal of `hospital_1`; its third session goes on."""
    directory = root / "hospital_1"
    directory.mkdir(parents=True)
    (directory / "node.json").write_text(json.dumps({"shard_name": "hospital_1", "director": "director.example:50051"}))
    diary = Diary(directory)
    diary.begin()
    diary.connect()
    diary.train("brain", fails=False)
    diary.train(LUNG, fails=True)
    diary.stop()
    diary.now += 86_400
    diary.begin()
    diary.connect()
    diary.train("brain", fails=True)
    diary.refuse("=evil")
    diary.step(E.EXPERIMENT_OFFERED, S.REVIEWING_PLAN, 5, "'heart'", name="heart")
    diary.step(E.PLAN_APPROVED, S.TRAINING, 5, "accepted, sha256 abcdef012345, engine callable")
    diary.store.close()  # as if it was killed
    diary.now += 60
    diary.begin()
    diary.connect()
    return diary
