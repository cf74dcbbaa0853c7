"""What an experiment's process may not do without end: run, print, hold its node up, wait for a peer that is gone."""

from __future__ import annotations

import itertools
import re
import stat
import time
from pathlib import Path

from fedenvoy.engines.supervise import LATER_LOGS
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event, State
from support.agents import config, running
from support.archives import archive
from support.children import make, run

S, E = State, Event
CHECK = "UpdateEnvoyStatus"


# Time


def test_B52_a_child_that_runs_too_long_is_ended_and_says_so(home: Path) -> None:
    result = run(make(home, "print('at it', flush=True)\ntime.sleep(3600)"), timeout=1.0)
    assert (result.ok, result.code) == (False, "timeout")
    assert result.error == "it was ended after the 1 seconds that an experiment may run here (agent.max_run_time)"
    assert result.detail == "at it"


def test_B52_a_child_that_saves_its_work_when_its_time_is_up_ran_too_long_too(home: Path) -> None:
    body = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('at it', flush=True)\ntime.sleep(3600)"
    result = run(make(home, body), timeout=1.0)
    assert (result.ok, result.code) == (False, "timeout")


def test_B52_a_child_that_is_over_in_its_time_is_not_touched(home: Path) -> None:
    assert run(make(home, "return {'done': 1}"), timeout=3600).metrics == {"done": 1}


def test_B52_an_experiment_that_sleeps_for_ever_is_failed_and_the_node_is_free(tmp_path: Path) -> None:
    with SandboxDirector() as director:
        director.offer("exp", archive("import time\ndef run(*_):\n    time.sleep(3600)\n"), to=["node-1"])
        with running(config(director.address, tmp_path, agent__max_run_time=1.5)) as node:
            node.wait_event(E.REPORT_DELIVERED)
            (failed,) = [record for record in node.records if record.event is E.TRAINING_FAILED]
            assert failed.cause.startswith("timeout: it was ended after the 1.5 seconds")
            assert failed.settled is None, "it may be offered again"
    (report,) = director.reports
    assert "agent.max_run_time" in report.error_description


# Output


def test_a_child_that_prints_without_end_leaves_its_beginning_and_its_end(home: Path) -> None:
    body = """
    print("first words")
    for number in range(200):
        sys.stdout.write("%07d " % number * 8192)
    print()
    print("last words")
    raise ValueError("enough")
    """
    spec = make(home, body)
    result = run(spec)
    files = [spec.run_dir / name for name in ("child.log", *LATER_LOGS)]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert sum(file.stat().st_size for file in files) < 5.1 * 2**20, "of 12.5 MiB"
    first, earlier, latest = (file.read_text() for file in files)
    assert first.startswith("first words\n")
    assert first.splitlines()[-1] == "[what was printed last is in child.latest.log]"
    assert "ValueError: enough" in latest.splitlines()[-1]
    kept = [int(word) for word in re.findall(r"\b\d{7}\b", earlier + latest)]
    assert kept == sorted(kept)
    assert set(kept) >= set(range(kept[0], 200)), "the end has no gap"
    assert kept[0] < 170
    assert result.error == "ValueError: enough"
    assert "last words" in result.tail.splitlines()


def test_a_child_that_printed_much_and_is_killed_says_its_last_words(home: Path) -> None:
    body = "sys.stdout.write('x' * 3 * 2**20 + chr(10) + 'last words' + chr(10))\nos.kill(os.getpid(), signal.SIGKILL)"
    result = run(make(home, body))
    assert result.code == "signal 9"
    assert result.detail.splitlines()[-1] == "last words"


def test_a_second_child_in_the_same_place_does_not_say_the_first_one_s_words(home: Path) -> None:
    spec = make(home, "sys.stdout.write('x' * 3 * 2**20 + chr(10) + 'last words' + chr(10))")
    run(spec)
    (spec.workspace / "src/tasks.py").write_text("def train(*_):\n    print('new')\n")
    assert run(spec).tail == "new"


# Company


def test_B18_a_job_that_holds_the_interpreter_for_seconds_starves_no_health_check(tmp_path: Path) -> None:
    """`sleep` called without letting go of the interpreter's lock, as native code without end does."""
    code = """
import ctypes, threading, time

def run(shard, devices, plan):
    ticks = []
    def tick():
        while len(ticks) < 10000:
            ticks.append(time.monotonic())
            time.sleep(0.01)
    threading.Thread(target=tick, daemon=True).start()
    time.sleep(0.1)
    ctypes.PyDLL(None).sleep(4)
    time.sleep(0.1)
    return {"longest": max(after - before for before, after in zip(ticks, ticks[1:]))}
"""
    seen: list[tuple[float, bool]] = []
    with SandboxDirector(
        period=1.0,
        observe=lambda call: (
            seen.append((time.monotonic(), call.request.is_experiment_running)) if call.method == CHECK else None
        ),
    ) as director:
        director.offer("exp", archive(code), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            records = node.wait_event(E.TRAINING_FINISHED)
            (finished,) = [record for record in records if record.event is E.TRAINING_FINISHED]
            longest = float(finished.cause.partition("=")[2])
            assert longest > 3.5, "the job did hold the lock"
    times = [at for at, running_then in seen if running_then]
    assert len(times) >= 3, "the director heard of the running experiment all the time"
    assert max(after - before for before, after in itertools.pairwise(times)) < 2.5
    assert not node.count(E.HEALTH_MISSED)


def test_B46_a_run_whose_aggregator_is_gone_is_orphaned_and_told_as_over(tmp_path: Path) -> None:
    """Nothing failed here: no failure report goes out, the next health check says that nothing runs."""
    code = "class Gone(OSError):\n    fedenvoy_code = 'aggregator'\n\ndef run(*_):\n    raise Gone('it is gone')\n"
    with SandboxDirector() as director:
        director.offer("exp", archive(code), to=["node-1"])
        with running(config(director.address, tmp_path)) as node:
            node.wait_event(E.REPORT_DELIVERED)
            (orphaned,) = [record for record in node.records if record.event is E.EXPERIMENT_ORPHANED]
            assert orphaned.cause == "aggregator: it is gone"
            assert orphaned.source is S.TRAINING
            node.wait_state(S.IDLE, times=2)
            assert not node.count(E.TRAINING_FAILED)
        director.wait_for(
            lambda calls: not [call for call in calls if call.method == CHECK][-1].request.is_experiment_running
        )
    assert not director.reports
