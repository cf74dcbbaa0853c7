"""What waits for people, piece by piece: votes, files that survive, tokens, kept archives."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve
from fedenvoy.cancel import Cancel, Cancelled
from fedenvoy.config import ReviewSettings
from fedenvoy.control.protocol import ANSWER_LIMIT, encoded
from fedenvoy.review import shelf as shelf_module
from fedenvoy.review.case import ReviewCase
from fedenvoy.review.held import APPROVED, REJECTED, WAITING, Held, Vote
from fedenvoy.review.holds import Answer, Holds, VoteError
from fedenvoy.review.kept import Kept, digest_of
from fedenvoy.review.shelf import APPROVAL_KEPT, Shelf
from fedenvoy.review.showing import shown
from fedenvoy.review.tokens import TokenError, Tokens

NOW = 1_000_000.0
PATIENCE = 20.0


def held(experiment: str = "exp", needed: int = 1, **changes: object) -> Held:
    case = Held(
        experiment=experiment,
        archive="a" * 64,
        lock="b" * 64,
        policy="c" * 64,
        engine="callable",
        size=1000,
        why="everything waits here",
        since=NOW,
        deadline=NOW + 3600,
        needed=needed,
    )
    return evolve(case, **changes)  # type: ignore[arg-type]


def vote(identity: str, *, approve: bool = True) -> Vote:
    return Vote(approve=approve, identity=identity, name=identity, reason="because", at=NOW)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


# ---- The decision


@pytest.mark.parametrize(
    ("needed", "votes", "decision"),
    [
        (1, (), WAITING),
        (1, (vote("a"),), APPROVED),
        (2, (vote("a"),), WAITING),
        (2, (vote("a"), vote("b")), APPROVED),
        (1, (vote("a", approve=False),), REJECTED),
        (1, (vote("a"), vote("b", approve=False)), REJECTED),
        (3, (vote("a"), vote("b"), vote("c", approve=False)), REJECTED),
    ],
)
def test_the_decision_is_read_off_the_votes(needed: int, votes: tuple[Vote, ...], decision: str) -> None:
    assert held(needed=needed, votes=votes).decision == decision


def test_the_id_is_another_as_soon_as_name_archive_lock_or_policy_is() -> None:
    ids = {
        case.id
        for case in (
            held(),
            held("other"),
            held(archive="d" * 64),
            held(lock="d" * 64),
            held(policy="d" * 64),
            held(archive="b" * 64, lock="a" * 64),
        )
    }
    assert len(ids) == 6
    assert held(why="other", needed=3, votes=(vote("a"),)).id == held().id


# ---- The files


NAMES = ["exp", "../../x", "", "a" * 300, "\x00\x1b[2J", "\udcff", "größer"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_B43_a_name_may_be_anything_and_is_no_path(tmp_path: Path, name: str) -> None:
    shelf = Shelf(tmp_path / "waiting", Clock())
    case = held(name, votes=(vote("uid 0"),))
    shelf.put(case, {"plan": "text"})
    assert shelf.all() == (case,)
    assert shelf.shown(case) == {"plan": "text"}
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "waiting"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*"))
    shelf.remove(name)
    assert not list((tmp_path / "waiting").iterdir())


def test_what_people_are_shown_is_of_the_archive_that_waits(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Clock())
    shelf.put(held(), {"plan": "old"})
    shelf.put(held(archive="d" * 64))
    assert shelf.shown(held(archive="d" * 64)) == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.pop("votes"),
        lambda content: content.update(needed="1"),
        lambda content: content.update(format=2),
        lambda content: content.update(more=1),
        lambda content: content["votes"][0].update(approve="yes"),
        lambda content: content["votes"][0].pop("identity"),
    ],
)
def test_a_file_that_cannot_be_understood_is_nobody_s_vote(
    tmp_path: Path, damage: Callable[[dict[str, object]], object]
) -> None:
    shelf = Shelf(tmp_path, Clock())
    shelf.put(held(votes=(vote("a"),)))
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    assert shelf.get("exp") is None
    assert shelf.all() == ()
    assert not path.exists()


def test_what_is_over_leaves_and_an_approval_later(tmp_path: Path) -> None:
    clock = Clock()
    shelf = Shelf(tmp_path, clock)
    shelf.put(held("waits"))
    shelf.put(held("approved", votes=(vote("a"),)))
    clock.now += 3600
    assert [case.experiment for case in shelf.all()] == ["approved"]
    clock.now += APPROVAL_KEPT
    assert shelf.all() == ()


def test_there_are_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf_module, "MOST", 4)
    shelf = Shelf(tmp_path, Clock())
    for number in range(7):
        shelf.put(held(str(number), since=NOW + number))
    assert [case.experiment for case in shelf.all()] == ["3", "4", "5", "6"]


@pytest.mark.parametrize("text", ["a" * 5_000_000, "\U0001f600" * 900_000, "\\" * 800_000, "short"], ids=len)
def test_what_is_shown_fits_into_one_answer(tmp_path: Path, text: str) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(text)
    case = ReviewCase(
        experiment="exp",
        digest="a" * 64,
        size=1,
        plan={},
        plan_path=plan,
        workspace=tmp_path,
        requirements="",
        lock=text,
        lock_digest="b" * 64,
        engine="callable",
        received_at=NOW,
    )
    texts = shown(case, None)
    assert set(texts) == {"plan", "requirements", "content", "changes"}
    assert len(encoded({"ok": True, "texts": texts, "case": held("x" * 10**6).brief()})) < ANSWER_LIMIT
    assert texts["plan"].startswith(text[:10])
    assert ("characters more" in texts["plan"]) == (len(text) > 10)


# ---- Waiting and voting


class Waiting:
    """A job that waits, in a thread."""

    def __init__(self, holds: Holds, case: Held, changed: Callable[[], bool] = lambda: False) -> None:
        self.cancel = Cancel()
        self._begun = threading.Event()
        self._pool = ThreadPoolExecutor(1)

        def texts() -> dict[str, str]:
            return {"plan": "text"}

        self._future = self._pool.submit(holds.wait, case, texts, changed, self.cancel)
        while holds.in_hand() is None and not self._future.done():
            self._begun.wait(0.005)

    def answer(self) -> Answer:
        try:
            return self._future.result(PATIENCE)
        finally:
            self._pool.shutdown()


def opened(directory: Path, **settings: object) -> Holds:
    return Holds(directory, ReviewSettings(**settings), clock=Clock())  # type: ignore[arg-type]


def test_one_identity_has_one_voice(tmp_path: Path) -> None:
    holds = opened(tmp_path)
    waiting = Waiting(holds, held(needed=2))
    case = held().id
    assert len(holds.vote(case, vote("uid 1")).approvals) == 1
    assert len(holds.vote(case, vote("uid 1")).approvals) == 1
    assert holds.vote(case, vote("uid 2")).decision == APPROVED
    answer = waiting.answer()
    assert answer.decision == APPROVED
    assert answer.words.count("because") == 2
    assert holds.in_hand() is None


def test_a_token_s_vote_takes_the_place_of_approvals_without_one(tmp_path: Path) -> None:
    holds = opened(tmp_path)
    waiting = Waiting(holds, held(needed=2))
    holds.vote(held().id, vote("uid 1"))
    assert [one.identity for one in holds.vote(held().id, vote("token a")).votes] == ["token a"]
    assert [one.identity for one in holds.vote(held().id, vote("token b")).votes] == ["token a", "token b"]
    assert waiting.answer().decision == APPROVED


def test_an_approval_can_be_taken_back_by_a_rejection(tmp_path: Path) -> None:
    holds = opened(tmp_path)
    waiting = Waiting(holds, held(needed=2))
    holds.vote(held().id, vote("uid 1"))
    assert holds.vote(held().id, vote("uid 1", approve=False)).decision == REJECTED
    assert waiting.answer().decision == REJECTED
    with pytest.raises(VoteError, match="nothing of this id waits"):
        holds.vote(held().id, vote("uid 2"))


def test_a_cancelled_wait_keeps_the_votes_and_the_time(tmp_path: Path) -> None:
    holds = opened(tmp_path)
    waiting = Waiting(holds, held(needed=2))
    holds.vote(held().id, vote("uid 1"))
    waiting.cancel.cancel()
    with pytest.raises(Cancelled):
        waiting.answer()
    again = opened(tmp_path)
    waiting = Waiting(again, held(needed=2, since=NOW + 500, deadline=NOW + 5000))
    hand = again.in_hand()
    assert hand is not None
    assert (hand.since, hand.deadline, len(hand.votes)) == (NOW, NOW + 3600, 1)
    again.vote(held().id, vote("uid 2"))
    assert waiting.answer().decision == APPROVED
    assert opened(tmp_path).all()[0].decision == APPROVED
    again.used("exp")
    assert opened(tmp_path).all() == ()


def test_a_vote_that_cannot_be_written_down_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holds = opened(tmp_path)
    waiting = Waiting(holds, held())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(VoteError, match="could not be written down"):
            holds.vote(held().id, vote("uid 1"))
    assert holds.in_hand() == held()
    holds.vote(held().id, vote("uid 1"))
    assert waiting.answer().decision == APPROVED


def test_after_its_time_nothing_is_decided_any_more(tmp_path: Path) -> None:
    clock = Clock()
    holds = Holds(tmp_path, ReviewSettings(), clock=clock)
    waiting = Waiting(holds, held(deadline=NOW + 0.05))
    answer = waiting.answer()
    assert answer.decision == REJECTED
    assert answer.words == "nobody decided within 0 s, 0 of 1 approved (everything waits here)"


def test_a_clock_that_is_set_while_people_think_ends_nothing(tmp_path: Path) -> None:
    clock = Clock()
    holds = Holds(tmp_path, ReviewSettings(), clock=clock)
    waiting = Waiting(holds, held())
    clock.now += 7200
    assert [case.id for case in holds.all()] == [held().id]
    holds.vote(held().id, vote("uid 1"))
    assert waiting.answer().decision == APPROVED


# ---- Tokens


def test_a_token_is_one_person_s_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "reviews" / "reviewers.json")
    assert tokens.names() == ()
    first = tokens.make(" Anna ")
    assert tokens.names() == ("Anna",)
    tokens.check("Anna", f"{first}\n")
    second = tokens.make("Anna")
    assert second != first
    for name, token in (("Anna", first), ("Bo", second), ("", second), ("Anna", ""), ("Anna", "\udcff")):
        with pytest.raises(TokenError, match="the token is not"):
            tokens.check(name, token)
    tokens.check("Anna", second)
    assert second not in (tmp_path / "reviews" / "reviewers.json").read_text()
    tokens.revoke("Anna")
    assert tokens.names() == ()
    with pytest.raises(TokenError, match="has no token"):
        tokens.revoke("Anna")
    for name in ("", " ", "x" * 101, "a\nb"):
        with pytest.raises(TokenError, match="1 to 100 characters"):
            tokens.make(name)


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"'])
def test_damaged_tokens_let_nobody_in(tmp_path: Path, content: str) -> None:
    path = tmp_path / "reviewers.json"
    path.write_text(content)
    tokens = Tokens(path)
    with pytest.raises(TokenError, match="no token is accepted"):
        tokens.names()
    with pytest.raises(TokenError, match="no token is accepted"):
        tokens.check("Anna", "x")
    assert path.read_text() == content


# ---- Kept archives


def test_the_last_approved_archive_of_each_name_is_kept_within_bounds(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", 250)

    def keep(name: str, content: bytes, at: float) -> str:
        path = tmp_path / "run.zip"
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        digest = digest_of(path)
        kept.keep(name, path, digest)
        for one in (tmp_path / "kept").glob("*.zip"):
            if one.stat().st_ino == path.stat().st_ino:
                os.utime(one, (at, at))
        return digest

    keep("one", b"1" * 100, 1)
    digest = keep("one", b"2" * 100, 2)
    found = kept.last("one")
    assert found is not None
    assert (found[0].read_bytes(), found[1]) == (b"2" * 100, digest)
    keep("two", b"3" * 100, 3)
    keep("three", b"4" * 100, 4)
    assert kept.last("one") is None
    assert kept.last("two") is not None
    keep("large", b"5" * 300, 5)
    assert kept.last("large") is None
    two = kept.last("two")
    assert two is not None
    two[0].write_bytes(b"tampered")
    assert kept.last("two") is None
