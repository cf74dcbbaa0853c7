"""What people may ask about the experiments that wait: from a request on the control socket to a vote with a name.

An identity is what the kernel says of the peer, or a token that only one person has; the name that was typed beside it
is kept for people to read and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fedenvoy.app.site import Site
from fedenvoy.control.peers import Peer
from fedenvoy.control.protocol import Request
from fedenvoy.errors import FedenvoyError

__all__ = ["Ballots"]


class BallotError(FedenvoyError):
    """Who asks may not do that; the text says why."""


class Ballots:
    """The reviews of one node, as its control socket offers them. Thread-safe.

    Args:
        site: The node's standing arrangements.

    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def in_hand(self) -> Mapping[str, Any] | None:
        """Give what the node waits for at this moment, as JSON can hold it."""
        held = self._site.holds.in_hand() if self._site.reviews else None
        return None if held is None else held.brief()

    def forget(self, experiment: str) -> None:
        """Forget what was said about a name."""
        if self._site.reviews:
            self._site.holds.forget(experiment)

    def close(self) -> None:
        """Give up what is under way."""
        if self._site.reviews:
            self._site.holds.close()

    def answer(self, request: Request, peer: Peer) -> Mapping[str, Any]:
        """Do what a request asks for.

        Raises:
            FedenvoyError: It is not done; the text says why.

        """
        if not self._site.reviews:
            mode = self._site.config.agent.review.mode
            raise BallotError(f"nothing waits for people at this node: agent.review.mode is {mode}")
        if request.command == "review_list":
            return self._list()
        if request.command == "review_show":
            held, texts = self._site.holds.shown(request["case"])
            return {"case": held.brief(), "texts": texts}
        if request.command in {"review_token", "review_revoke"}:
            return self._token(request, peer)
        return self._vote(request, peer, approve=request.command == "review_approve")

    def _list(self) -> Mapping[str, Any]:
        holds = self._site.holds
        hand = holds.in_hand()
        waiting = [{**held.brief(), "in_hand": hand is not None and held.id == hand.id} for held in holds.all()]
        return {"waiting": waiting, "reviewers": list(holds.tokens.names())}

    def _token(self, request: Request, peer: Peer) -> Mapping[str, Any]:
        if not peer.owner:
            raise BallotError("only the user that this agent runs as, and root, make tokens")
        tokens = self._site.holds.tokens
        try:
            if request.command == "review_revoke":
                tokens.revoke(request["name"])
                return {}
            return {"token": tokens.make(request["name"])}
        except OSError as error:
            raise BallotError(f"the tokens cannot be written down: {error}") from error

    def _vote(self, request: Request, peer: Peer, *, approve: bool) -> Mapping[str, Any]:
        from fedenvoy.review.held import Vote  # noqa: PLC0415 - not for a node that accepts everything

        vote = Vote(
            approve=approve,
            identity=self._identity(request, peer, approve=approve),
            name=request["name"].strip(),
            reason=request["reason"].strip(),
            at=time.time(),
        )
        return {"case": self._site.holds.vote(request["case"], vote).brief(), "identity": vote.identity}

    def _identity(self, request: Request, peer: Peer, *, approve: bool) -> str:
        """Give who it is for sure.

        Where people have tokens, an approval needs one: with his user and his token one person would be two. To reject
        is always safe.
        """
        tokens = self._site.holds.tokens
        if request["token"]:
            tokens.check(request["name"], request["token"])
            return f"token {request['name'].strip()}"
        if approve and tokens.names():
            raise BallotError("people approve with their tokens at this node: give yours (--token-file)")
        return f"uid {peer.uid}"
