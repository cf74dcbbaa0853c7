"""Asks who answers at the director's address, without becoming known there: which protocol, which shapes.

Both questions are the front end's; a director that has this node's name in its register is not disturbed.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.empty_pb2 import Empty

from fedenvoy.calls import CallError
from fedenvoy.config import DirectorAddress, LinkSettings, TlsFiles
from fedenvoy.link.caller import Caller
from fedenvoy.link.dialect import Method
from fedenvoy.link.status import Rpc
from fedenvoy.wire import openfl16_pb2 as wire

__all__ = ["OPENFL_16", "OPENFL_19", "Survey", "survey"]

OPENFL_16 = "OpenFL 1.5 - 1.6"
OPENFL_19 = "OpenFL 1.7 - 1.9 (workflow API)"

_SHAPES: Method[wire.GetDatasetInfoRequest, wire.GetDatasetInfoResponse] = Method(
    Rpc.SURVEY, "/openfl.director.Director/GetDatasetInfo", wire.GetDatasetInfoResponse
)
_WORKFLOW: Method[Empty, Empty] = Method(Rpc.SURVEY, "/openfl.experimental.workflow.director.Director/GetEnvoys", Empty)
"""Asked only whether it is there: what it answers is skipped."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Who answers.

    Attributes:
        protocol: `OPENFL_16`, `OPENFL_19`, or empty for something else.
        sample_shape: What the director asks of every shard, as decimal strings; empty where it does not say.
        target_shape: Likewise.

    """

    protocol: str
    sample_shape: tuple[str, ...] = ()
    target_shape: tuple[str, ...] = ()


def survey(director: DirectorAddress, tls: TlsFiles | None, settings: LinkSettings) -> Survey:
    """Ask.

    Args:
        director: Whom.
        tls: The certificates; None: plain text.
        settings: Deadlines, and whether proxies apply.

    Raises:
        CallError: There was no answer of a director of any kind.

    """
    caller = Caller(director, tls, settings)
    try:
        try:
            reply = caller.unary(_SHAPES, wire.GetDatasetInfoRequest(), settings.call_timeout)
        except CallError as error:
            if error.code == "UNKNOWN":  # the method is there, and raised
                return Survey(OPENFL_16)
            if error.code != "UNIMPLEMENTED":
                raise
        else:
            shard = reply.shard_info
            return Survey(OPENFL_16, tuple(shard.sample_shape), tuple(shard.target_shape))
        return Survey(OPENFL_19 if _answers(caller, settings.call_timeout) else "")
    finally:
        caller.close()


def _answers(caller: Caller, timeout: float) -> bool:
    try:
        caller.unary(_WORKFLOW, Empty(), timeout)
    except CallError as error:
        if error.code == "UNIMPLEMENTED":
            return False
        if error.code != "UNKNOWN":
            raise
    return True
