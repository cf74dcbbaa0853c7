"""How the end of an experiment's process is told: the sentence, the code, and what of it may leave the site."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from fedenvoy.core.verdicts import CIRCUMSTANCES
from fedenvoy.engines import memory, verdict
from fedenvoy.engines.ending import Ending, Said, parse
from fedenvoy.engines.reading import read_regular
from fedenvoy.engines.verdict import CODES, judge

GB = 10**9
PYTHON = Path("/opt/site/bin/python")
LIMITS = {"memory": 4 * GB, "processes": 100, "open_files": 64, "workspace": 10 * 2**30}
MAY = "an experiment may have"
SECRET = "patient Jane Roe, row 17"


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "available", lambda: 16 * 2**30)


def ended(status: str, result: Mapping[str, Any] | None = None, **known: Any) -> Ending:
    return evolve(Ending(status=status, result=result, tail="last words"), **known)


def raised(**said: Any) -> dict[str, Any]:
    said = {"kind": "ValueError", "where": "src/train.py:12", "error": f"ValueError: {SECRET}", **said}
    return {"ok": False, "stage": "experiment", "traceback": f"Traceback ...\nValueError: {SECRET}", **said}


@pytest.mark.parametrize(
    ("ending", "limits", "words", "code"),
    [
        (ended("exit 3"), {}, "exited with 3", "exit 3"),
        (ended("signal 11"), {}, "killed by signal 11 (SIGSEGV)", "signal 11"),
        (ended("signal 250"), {}, "killed by signal 250", "signal 250"),
        (ended("signal 9"), {}, "killed by signal 9 (out of memory?)", "signal 9"),
        (
            ended("signal 9", peak=2**30),
            {},
            "killed by signal 9 (out of memory? peak 1 GiB of 16 GiB)",
            "signal 9",
        ),
        (
            ended("signal 9", peak=31 * GB // 10),
            LIMITS,
            "killed by signal 9 (out of memory? peak 3.1 GB of 4 GB)",
            "signal 9",
        ),
        (
            ended("signal 9", peak=33 * GB // 10),
            LIMITS,
            "killed by signal 9, probably out of memory: peak 3.3 GB of 4 GB",
            "signal 9",
        ),
        (
            ended("signal 9", peak=2**30, starved=True),
            {},
            "killed by signal 9, probably out of memory: peak 1 GiB of 16 GiB",
            "signal 9",
        ),
        (
            ended("signal 9", peak=5 * GB, limit="memory"),
            LIMITS,
            f"it was ended: {MAY} 4 GB of memory here (agent.child.memory), and it took more; peak 5 GB of 4 GB",
            "limit",
        ),
        (
            ended("signal 9", limit="processes"),
            LIMITS,
            f"it was ended: {MAY} 100 processes and threads here (agent.child.processes), and it took more",
            "limit",
        ),
        (
            ended("signal 9", limit="workspace"),
            LIMITS,
            "it was ended: an experiment may have 10 GiB of files here (agent.child.workspace), and it took more",
            "limit",
        ),
        (
            ended("signal 9", limit="disk"),
            LIMITS,
            "it was ended: the disk that its files are on is nearly full, and the node needs the rest",
            "disk",
        ),
        (
            ended("signal 25"),
            LIMITS,
            f"killed by signal 25 (SIGXFSZ): {MAY} 10 GiB of files here (agent.child.workspace), and one was larger",
            "limit",
        ),
        (
            ended("exit 1", raised(kind="MemoryError", error="MemoryError", where="", cause="memory"), peak=3 * GB),
            LIMITS,
            "MemoryError; an experiment may have 4 GB of memory here (agent.child.memory); peak 3 GB of 4 GB",
            "limit",
        ),
        (
            ended("exit 1", raised(kind="MemoryError", error="MemoryError", where="", cause="memory"), peak=2**30),
            {},
            "MemoryError; peak 1 GiB of 16 GiB",
            "exception",
        ),
        (
            ended("exit 1", raised(kind="OSError", error="OSError: [Errno 24]", cause="open_files")),
            LIMITS,
            "OSError: [Errno 24]; an experiment may have 64 open files here (agent.child.open_files)",
            "limit",
        ),
        (
            ended("exit 1", raised(kind="OSError", error="OSError: 24", cause="open_files")),
            {},
            "OSError: 24",
            "exception",
        ),
        (ended("exit 1", raised(kind="OSError", error="OSError: full", cause="disk")), LIMITS, "OSError: full", "disk"),
    ],
)
def test_B50_every_end_has_its_cause_in_words(ending: Ending, limits: Mapping[str, int], words: str, code: str) -> None:
    result = judge(evolve(ending, began=True), PYTHON, limits)
    assert (result.ok, result.error, result.code) == (False, words, code)
    family = f"{code.partition(' ')[0]} N" if " " in code else code
    assert family in CODES


def test_a_limit_is_the_experiments_own_fault_and_a_full_disk_is_not() -> None:
    assert "limit" not in CIRCUMSTANCES
    assert "disk" in CIRCUMSTANCES


def test_B43_the_text_of_an_exception_is_in_the_sentence_and_not_in_the_summary() -> None:
    result = judge(ended("exit 1", raised()), PYTHON)
    assert SECRET in result.error
    assert SECRET in result.detail
    assert result.summary == "ValueError at src/train.py:12 (its text stays at the site)"


@pytest.mark.parametrize(
    "result",
    [
        {"ok": False, "stage": "experiment", "exit": 1, "error": SECRET},
        {"ok": False, "stage": "shard", "error": f"KeyError: '{SECRET}'", "kind": "KeyError", "traceback": SECRET},
        raised(cause="memory"),
        raised(cause="disk"),
        raised(where=""),
    ],
)
@pytest.mark.parametrize("limits", [{}, LIMITS])
def test_no_summary_has_what_user_code_said(result: dict[str, Any], limits: Mapping[str, int]) -> None:
    judged = judge(ended("exit 1", result), PYTHON, limits)
    assert SECRET in judged.error
    assert "Jane" not in judged.summary
    assert judged.summary


def test_what_ended_a_shard_descriptor_is_the_sites_matter_whatever_it_was() -> None:
    result = judge(ended("signal 9", {"stage": "shard"}, limit="memory"), PYTHON, LIMITS)
    assert result.code == "shard"
    assert result.error.startswith(
        "the shard descriptor could not be constructed: it was ended: an experiment may have"
    )


def test_an_interpreter_that_never_ran_is_the_sites_matter() -> None:
    result = judge(ended("exit 5", began=False), PYTHON)
    assert (result.code, result.error) == (
        "start",
        "the interpreter /opt/site/bin/python ended before the experiment could begin: exited with 5",
    )


@pytest.mark.parametrize(
    "forged",
    [
        {"ok": False, "exit": "x" * 10**6, "error": "y" * 10**6},
        {"ok": False, "exit": [1], "error": 7, "kind": {}, "where": 3, "cause": ["memory"]},
        {"ok": False, "code": "z" * 10**6, "error": "y" * 10**6, "kind": "k" * 10**6},
        {"ok": False, "cause": "shoe size", "error": "e"},
        {"ok": True, "metrics": {"a" * 10**6: 10**400, "b" * 10**6: 1}},
        {"ok": None, "stage": 17},
    ],
)
def test_a_forged_result_says_little(forged: dict[str, Any]) -> None:
    for status in ("exit 0", "exit 1"):
        result = judge(ended(status, forged), PYTHON, LIMITS)
        assert len(result.error) < 4000
        assert len(result.code) < 20
        assert len(result.summary) < 4000
        assert all(len(name) <= 1000 for name in result.metrics)


def test_metrics_are_numbers_and_few() -> None:
    content = {"ok": True, "metrics": {"big": 10**400, "inf": float("inf"), "yes": True, "text": "x", "good": 1}}
    assert judge(ended("exit 0", content), PYTHON).metrics == {"good": 1.0}
    many = {"ok": True, "metrics": {str(number): number for number in range(1000)}}
    assert len(judge(ended("exit 0", many), PYTHON).metrics) == 100


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("exit 3", Said("exit 3")),
        ("exit 3;peak=17;limit=memory;starved", Said("exit 3", 17, "memory", starved=True)),
        (";peak=17", Said("", 17)),
        ("", Said()),
        ("exit x;peak=1", Said()),
        ("signal 9;peak=-1;limit=shoe size;nonsense;=", Said("signal 9")),
        ("signal 9;peak=" + "9" * 400, Said("signal 9")),
        ("nonsense", Said()),
    ],
)
def test_the_guards_words(words: str, said: Said) -> None:
    assert parse(words) == said


# Memory


def test_the_memory_there_is_may_be_less_than_the_machines(tmp_path: Path) -> None:
    for name in ("proc/self", "sys/fs/cgroup/a/b", "sys/fs/cgroup/memory/c"):
        (tmp_path / name).mkdir(parents=True)
    assert memory.available(tmp_path) == 0
    (tmp_path / "proc/meminfo").write_text("MemTotal:       1000 kB\nMemFree: 3 kB\n")
    assert memory.available(tmp_path) == 1024000
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/c\n1:name=systemd:/x:y\n0::/a/b\n")
    (tmp_path / "sys/fs/cgroup/a/memory.max").write_text("900000\n")
    (tmp_path / "sys/fs/cgroup/a/b/memory.max").write_text("max\n")
    assert memory.available(tmp_path) == 900000
    (tmp_path / "sys/fs/cgroup/memory/c/memory.limit_in_bytes").write_text("800000\n")
    assert memory.available(tmp_path) == 800000


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 bytes"),
        (512, "512 bytes"),
        (4 * GB, "4 GB"),
        (2**32, "4 GiB"),
        (1536, "1.5 KiB"),
        (3 * 2**50, "3072 TiB"),
    ],
)
def test_sizes_are_written_as_they_are_meant(amount: int, words: str) -> None:
    assert memory.size(amount) == words


def test_a_part_is_written_in_the_units_of_the_whole() -> None:
    assert memory.of(3_100_000_000, 4 * GB) == "3.1 GB of 4 GB"
    assert memory.of(3_328_599_654, 2**32) == "3.1 GiB of 4 GiB"


# Files


def test_only_plain_files_of_some_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("0123456789")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "file", 10) == b"0123456789"
    assert read_regular(tmp_path / "file", 9) is None
    assert read_regular(tmp_path / "file", 3, tail=True) == b"789"
    for name in ("link", "directory", "pipe", "nothing"):
        assert read_regular(tmp_path / name, 10) is None
