"""What a child's own process is held to, and what of its failure leaves the site; for the rest see tests/hostile."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import evolve
from fedenvoy.config import ChildSettings, ReportSettings, ShardSource
from fedenvoy.testing import SandboxDirector
from fedenvoy_statecharts import Event
from support.agents import config, running
from support.archives import archive
from support.children import make, run

E = Event
SECRET = "Jane Roe"


LOOK = """
    import resource
    names = ("CORE", "NOFILE", "FSIZE", "DATA")
    what = {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names}
    assert all(soft == hard for soft, hard in what.values()), what
    os.umask(mask := os.umask(0))
    return {**{name: float(soft) for name, (soft, _) in what.items()}, "umask": mask, "nice": os.nice(0)}
"""


def test_a_child_is_held_to_its_limits_by_the_kernel(home: Path) -> None:
    limits = {"memory": 2**30, "open_files": 99, "workspace": 2**29, "processes": 50, "nice": 3}
    result = run(evolve(make(home, LOOK), limits=limits))
    assert result.ok, result.detail
    found = {"DATA": 2.0**30, "NOFILE": 99.0, "FSIZE": 2.0**29, "CORE": 1.0, "umask": 0o77}
    assert {name: result.metrics[name] for name in found} == found
    assert result.metrics["nice"] == min(19, run(make(home, LOOK, name="plain")).metrics["nice"] + 3)


def test_limits_are_the_settings_and_variables_the_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_SECRET_TOKEN", SECRET)
    monkeypatch.setenv("DATA_DIR", "/data")
    code = """
import os, resource
def run(*_):
    assert "SITE_SECRET_TOKEN" not in os.environ
    assert (os.environ["DATA_DIR"], os.environ["MODE"]) == ("/data", "fast")
    return {"files": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
"""
    child = ChildSettings(open_files=123, env=("DATA_DIR", "MODE=fast"))
    with SandboxDirector() as director:
        director.offer("exp", archive(code), to=["node-1"])
        with running(config(director.address, tmp_path, agent__child=child)) as node:
            records = node.wait_event(E.TRAINING_FINISHED)
    assert [one.cause for one in records if one.event is E.TRAINING_FINISHED] == ["files=123"]


def test_the_names_of_dropped_variables_are_logged_once_and_never_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SITE_SECRET_TOKEN", SECRET)
    with caplog.at_level(logging.INFO), SandboxDirector() as director:
        with running(config(director.address, tmp_path)) as node:
            for name in ("one", "two"):
                director.offer(name, archive(), to=["node-1"])
                node.wait_event(E.TRAINING_FINISHED, times=1 if name == "one" else 2)
    (line,) = [record.getMessage() for record in caplog.records if "SITE_SECRET_TOKEN" in record.getMessage()]
    assert line.startswith("environment variables that experiments do not get, unless agent.child.env names them: ")
    assert SECRET not in caplog.text


def test_a_shard_descriptor_that_misses_a_variable_is_told_how_it_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_DATA", "/data")
    (tmp_path / "needy.py").write_text(
        "import os\nclass Shard:\n    def __init__(self):\n        os.environ['SITE_DATA']\n"
    )
    with SandboxDirector() as director:
        told = config(director.address, tmp_path / "state", agent__home=tmp_path, shard=ShardSource("needy.Shard"))
        with running(told) as node:
            records = node.wait(lambda found: any("SITE_DATA" in one.cause for one in found))
    (cause,) = {one.cause for one in records if "SITE_DATA" in one.cause}
    assert "the environment variable SITE_DATA is not handed on unless agent.child.env names it" in cause


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("code", "failed on this node (exception)"),
        ("summary", "ValueError at experiment_code.py:2 (its text stays at the site)"),
        ("full", None),
    ],
)
def test_B43_what_an_exception_quotes_leaves_only_when_the_site_says_so(
    tmp_path: Path, detail: str, told: str | None
) -> None:
    code = f"def run(*_):\n    raise ValueError('row of {SECRET} in /data/scans')\n"
    with SandboxDirector() as director:
        director.offer("exp", archive(code), to=["node-1"])
        with running(config(director.address, tmp_path, agent__report=ReportSettings(detail=detail))) as node:
            records = node.wait_event(E.REPORT_DELIVERED)
        (report,) = director.reports
        everything = b"".join(call.request.SerializeToString() for call in director.calls)
    (failed,) = [one for one in records if one.event is E.TRAINING_FAILED]
    assert SECRET in failed.cause, "the journal has it"
    if told is None:
        assert report.error_description.startswith(f"ValueError: row of {SECRET} in /data/scans\nTraceback")
    else:
        assert re.fullmatch(re.escape(told) + r"( \(archive sha256 [0-9a-f]{64}\))?", report.error_description)
        assert SECRET.encode() not in everything
    (kept,) = tmp_path.glob("*/logs/*/verdict.txt")
    assert SECRET in kept.read_text()
    assert "Traceback" in kept.read_text()
    assert "Traceback" in kept.with_name("child.log").read_text()


LATE = """
import os, sys, time
from fedenvoy.engines.child import guard, watching

child = os.fork()
if child == 0:
    time.sleep(60)
real, looks = guard.tree, []

def late(top):
    looks.append(top)
    return real(top) if len(looks) > 1 else []

guard.tree = late
one = guard._Guard.__new__(guard._Guard)
one._codes, one._moved, one._child = {}, True, child
one._watching = watching.Watching({}, sys.argv[1])
one._end_descendants()
assert os.WIFSIGNALED(one._codes[child]), one._codes
"""


def test_B83_what_is_forked_while_the_guard_looks_is_ended_too(tmp_path: Path) -> None:
    """A process that began after the list of all was made, and whose parent ended before it was read, is on no list."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    done = subprocess.run(
        [sys.executable, "-c", LATE, str(tmp_path)], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
