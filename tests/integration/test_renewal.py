"""Certificates that are renewed while a node runs: it is told of their end in time, and SIGHUP makes new ones count."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from fedenvoy.app.node import run_node
from fedenvoy.app.renewal import DAY, CertificateEnds
from fedenvoy.cancel import Cancel
from fedenvoy.config import TlsFiles
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector, ThrowawayAuthority
from fedenvoy_statecharts import Event, State
from support.agents import config, running


def test_the_ends_are_read_anew_when_a_file_was_replaced(authority: ThrowawayAuthority, files: TlsFiles) -> None:
    ends = CertificateEnds(files)
    first = ends.ends()
    assert set(first) == {"certificate", "root_certificate"}
    assert 0 < first["certificate"] - time.time() < 2 * DAY
    assert ends.ends() is first  # nothing was read again
    files.certificate.write_bytes(authority.issue("one", expired=True).certificate)
    assert ends.ends()["certificate"] < time.time()
    files.certificate.write_bytes(b"nonsense")
    assert "certificate" not in ends.ends()


def test_a_node_without_certificates_looks_for_none() -> None:
    assert CertificateEnds(None).ends() == {}
    assert not CertificateEnds(None).due()


def test_it_is_said_once_a_day_what_ends_soon(files: TlsFiles, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    ends = CertificateEnds(files, clock=lambda: now[0])
    assert [ends.due(), ends.due()] == [True, False]
    now[0] += DAY
    assert ends.due()
    with caplog.at_level(logging.WARNING):
        ends.warn(Cancel())
    assert f"the certificate {files.certificate} ends on" in caplog.text
    assert "have it renewed" in caplog.text


def test_a_node_with_certificates_warns_after_its_first_health_check(
    authority: ThrowawayAuthority, files: TlsFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SandboxDirector(tls=authority.issue("director")) as director:
        settings = config(director.address, tmp_path / "state", shard_name="one", tls=files)
        with running(settings) as node:
            node.wait_event(Event.HEALTH_CHECKED)
            deadline = time.monotonic() + 30
            while "have it renewed" not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.02)


def test_sighup_connects_anew_with_the_certificate_that_is_there_now(
    authority: ThrowawayAuthority, files: TlsFiles, tmp_path: Path
) -> None:
    problems: list[BaseException] = []
    before = signal.getsignal(signal.SIGHUP)

    def renew() -> None:
        try:
            director.wait_for_calls("WaitExperiment")
            authority.issue("renewed").write(tmp_path, "one")  # over the old ones
            os.kill(os.getpid(), signal.SIGHUP)
            director.wait_for_calls("UpdateShardInfo", 2)
        except BaseException as error:
            problems.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    with SandboxDirector(tls=authority.issue("director")) as director:
        helper = threading.Thread(target=renew)
        helper.start()
        try:
            settings = config(director.address, tmp_path / "state", shard_name="one", tls=files)
            assert run_node(settings) is Exit.OK
        finally:
            helper.join(60)
        assert not problems, problems
        assert [call.identity for call in director.calls_of("UpdateShardInfo")] == ["one", "renewed"]
    assert signal.getsignal(signal.SIGHUP) is before


def test_sighup_with_files_that_cannot_be_used_keeps_the_link(
    authority: ThrowawayAuthority, files: TlsFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def wait() -> None:
        deadline = time.monotonic() + 30
        while "the link is kept as it is" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with SandboxDirector(tls=authority.issue("director")) as director:
        settings = config(director.address, tmp_path / "state", shard_name="one", tls=files)
        with running(settings) as node:
            node.wait_state(State.IDLE)
            files.certificate.write_bytes(b"half written")
            node.node.reconnect()
            wait()
            assert node.count(Event.DIRECTOR_LOST) == 0
