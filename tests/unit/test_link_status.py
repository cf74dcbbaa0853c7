"""What each gRPC status means, for every code and every method."""

from __future__ import annotations

import grpc
import pytest
from fedenvoy.calls import CallKind
from fedenvoy.link.status import KINDS, Rpc, classify, closed_while_connecting

C = grpc.StatusCode
K = CallKind

EXPECTED = {
    C.OK: K.RETRYABLE,
    C.CANCELLED: K.RETRYABLE,
    C.UNKNOWN: K.RETRYABLE,
    C.INVALID_ARGUMENT: K.REJECTED,
    C.DEADLINE_EXCEEDED: K.RETRYABLE,
    C.NOT_FOUND: K.RETRYABLE,
    C.ALREADY_EXISTS: K.RETRYABLE,
    C.PERMISSION_DENIED: K.REJECTED,
    C.UNAUTHENTICATED: K.REJECTED,
    C.RESOURCE_EXHAUSTED: K.RETRYABLE,
    C.FAILED_PRECONDITION: K.RETRYABLE,
    C.ABORTED: K.RETRYABLE,
    C.UNIMPLEMENTED: K.REJECTED,
    C.INTERNAL: K.RETRYABLE,
    C.UNAVAILABLE: K.RETRYABLE,
    C.DATA_LOSS: K.RETRYABLE,
    C.OUT_OF_RANGE: K.RETRYABLE,
}
EXCEPTIONS = {
    (Rpc.HEALTH, C.NOT_FOUND): K.REREGISTER,
    (Rpc.POLL, C.DEADLINE_EXCEEDED): K.EMPTY,
    (Rpc.DATA, C.NOT_FOUND): K.WITHDRAWN,
    (Rpc.REPORT, C.NOT_FOUND): K.WITHDRAWN,
}


def test_B96_every_status_code_has_a_meaning() -> None:
    assert set(KINDS) == set(grpc.StatusCode)
    assert len(EXPECTED) == 17


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
@pytest.mark.parametrize("rpc", list(Rpc), ids=lambda rpc: rpc.name)
def test_B96_status_table(rpc: Rpc, code: grpc.StatusCode) -> None:
    expected = EXCEPTIONS.get((rpc, code), EXPECTED[code])
    for tls in (False, True):
        assert classify(rpc, code, "no particular words", tls=tls) is expected


UNREACHABLE = "failed to connect to all addresses; last error: "

TLS_WORDS = {
    "wrong CA, oldest": "Ssl handshake failed: SSL_ERROR_SSL: error:1000007d:SSL routines:CERTIFICATE_VERIFY_FAILED",
    "wrong CA, newest": "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:"
    "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate: OK",
    "expired, newest": "SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED: certificate has expired: OK",
    "wrong name, oldest": "UNKNOWN: ipv4:127.0.0.1:1: Peer name localhost is not in peer certificate",
    "wrong name, newest": "Custom verification check failed with error: UNAUTHENTICATED: Hostname "
    "Verification Check failed.",
    "plain text there": "Ssl handshake failed: SSL_ERROR_SSL: error:100000f7:SSL routines:WRONG_VERSION_NUMBER",
    "files do not fit, newest": "Failed to create security handshaker.",
}


@pytest.mark.parametrize("rpc", list(Rpc), ids=lambda rpc: rpc.name)
@pytest.mark.parametrize("words", TLS_WORDS.values(), ids=TLS_WORDS)
def test_B56_a_tls_fault_is_rejected_although_grpc_says_unavailable(rpc: Rpc, words: str) -> None:
    assert classify(rpc, C.UNAVAILABLE, UNREACHABLE + words, tls=True) is K.REJECTED
    # Without TLS the same words can only be a quotation.
    assert classify(rpc, C.UNAVAILABLE, UNREACHABLE + words, tls=False) is K.RETRYABLE


def test_B56_files_that_do_not_fit_together_are_rejected_on_the_oldest_grpc_too() -> None:
    assert classify(Rpc.REGISTER, C.UNAVAILABLE, "empty address list: ", tls=True) is K.REJECTED
    assert classify(Rpc.REGISTER, C.UNAVAILABLE, "empty address list: ", tls=False) is K.RETRYABLE


@pytest.mark.parametrize(
    "words",
    [
        UNREACHABLE + "UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused",
        UNREACHABLE + "UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed",
        UNREACHABLE + "UNAVAILABLE: ipv4:127.0.0.1:1: Handshake read failed (Socket closed)",
        "DNS resolution failed for nowhere.invalid:1: C-ares status is not ARES_SUCCESS: Domain name not found",
        UNREACHABLE + "UNAVAILABLE: ipv4:127.0.0.1:1: Failed parsing HTTP/2",
        "Socket closed",
        "",
    ],
)
def test_a_director_that_is_down_is_retryable_with_tls_as_well(words: str) -> None:
    assert classify(Rpc.REGISTER, C.UNAVAILABLE, words, tls=True) is K.RETRYABLE


@pytest.mark.parametrize(
    "words",
    [
        "Unexpected <class 'KeyError'>: 'exp'",
        "Unexpected <class 'FileNotFoundError'>: [Errno 2] No such file or directory: '/d/1b4e28ba'",
        "Exception iterating responses: [Errno 2] No such file or directory: '/d/1b4e28ba'",
    ],
)
def test_a_removed_experiment_is_withdrawn(words: str) -> None:
    assert classify(Rpc.DATA, C.UNKNOWN, words, tls=False) is K.WITHDRAWN
    assert classify(Rpc.POLL, C.UNKNOWN, words, tls=False) is K.RETRYABLE


@pytest.mark.parametrize("words", ["Unexpected <class 'OSError'>: [Errno 5] Input/output error", "Stream removed", ""])
def test_other_faults_inside_the_director_do_not_withdraw_an_experiment(words: str) -> None:
    assert classify(Rpc.DATA, C.UNKNOWN, words, tls=False) is K.RETRYABLE


@pytest.mark.parametrize(
    ("words", "open_question"),
    [
        (UNREACHABLE + "UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed", True),
        (UNREACHABLE + "UNAVAILABLE: ipv4:127.0.0.1:1: recvmsg:Connection reset by peer", True),
        (UNREACHABLE + "UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", False),
        ("Socket closed", False),  # of a connection that had worked
    ],
)
def test_only_a_close_while_connecting_leaves_the_question_open(words: str, open_question: bool) -> None:
    assert closed_while_connecting(words) is open_question
