"""Signals reach a node that sleeps, whichever thread the kernel hands them to."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from fedenvoy.app.node import run_node
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector
from support.agents import config


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_does_not_interrupt_the_owner_s_wait_ends_the_node(
    director: SandboxDirector, tmp_path: Path, number: signal.Signals
) -> None:
    """As one does that comes in the instant before the wait begins; the next message would be a minute away."""
    ended, overslept = threading.Event(), threading.Event()
    owner = threading.get_ident()

    def tell() -> None:
        director.wait_for_calls("WaitExperiment")
        signal.pthread_kill(threading.get_ident(), number)
        if not ended.wait(10):
            overslept.set()
            signal.pthread_kill(owner, number)

    teller = threading.Thread(target=tell)
    teller.start()
    before = signal.getsignal(number)
    try:
        assert run_node(config(director.address, tmp_path)) is Exit.OK
    finally:
        ended.set()
        teller.join()
    assert not overslept.is_set()
    assert signal.getsignal(number) is before
    assert signal.set_wakeup_fd(-1) == -1
