"""What a site may ask of its GPUs, and what is said of those that do not have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.config import GpuRequirements, GpuSettings
from fedenvoy.configfile.agent_section import read_agent
from fedenvoy.configfile.findings import Findings
from fedenvoy.devices import DeviceProcess, DeviceState, GpuReport
from fedenvoy.events import DeviceReading
from fedenvoy.monitor.fitness import complaint, size

GIB = 2**30
FIT = DeviceState(
    0,
    DeviceReading(0, 80 * GIB, 10 * GIB, "0%", "550", "12.4", "card"),
    memory_free=70 * GIB,
    temperature=40,
    ecc_uncorrected=0,
    memory_worn=False,
    processes=(),
)
EVERYTHING = GpuRequirements(min_free_memory=GIB, max_temperature=80, no_ecc_errors=True, exclusive=True)


def said(require: GpuRequirements, *states: DeviceState, **report: Any) -> str:
    return complaint(replace(GpuReport(states, age=1.0), **report), require, 10.0)


def test_the_requirements_stand_in_the_configuration(tmp_path: Path) -> None:
    found = Findings("f.yaml")
    section = {
        "require": {"min_free_memory": "8GiB", "max_temperature": 85, "no_ecc_errors": "yes", "exclusive": True},
        "unfit": "fail",
        "deadline": "2s",
        "lock_dir": ".",
    }
    settings = read_agent({"gpu": section}, home=tmp_path, found=found)
    assert found.problems == []
    require = GpuRequirements(8 * GIB, 85.0, no_ecc_errors=True, exclusive=True)
    assert settings.gpu == GpuSettings(deadline=2.0, unfit="fail", lock_dir=tmp_path, require=require)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"require": {"free_memory": 1}}, "agent.gpu.require.free_memory"),
        ({"require": {"max_temperature": "hot"}}, "agent.gpu.require.max_temperature"),
        ({"unfit": "ignore"}, "expected wait or fail"),
        ({"lock_dir": "not/there"}, "agent.gpu.lock_dir"),
    ],
)
def test_a_requirement_that_cannot_be_is_told(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    found = Findings("f.yaml")
    read_agent({"gpu": section}, home=tmp_path, found=found)
    (problem,) = found.problems
    assert words in problem


def test_a_fit_card_has_nothing_said_of_it() -> None:
    assert said(EVERYTHING, FIT, FIT) == ""


CASES: list[tuple[GpuRequirements, dict[str, Any], str]] = [
    (
        GpuRequirements(min_free_memory=71 * GIB),
        {},
        "GPU 0 (card) has 70.0 GiB of memory free, and agent.gpu.require.min_free_memory is 71.0 GiB",
    ),
    (
        GpuRequirements(min_free_memory=71 * GIB),
        {"memory_free": None, "unsupported": ("memory free",)},
        "GPU 0 (card) has 70.0 GiB of memory free, and agent.gpu.require.min_free_memory is 71.0 GiB",
    ),
    (
        GpuRequirements(min_free_memory=1),
        {"memory_free": None, "reading": DeviceReading(0), "unsupported": ("memory free",)},
        "GPU 0 does not tell its free memory (not supported), and 1 bytes are wanted",
    ),
    (
        GpuRequirements(max_temperature=39.5),
        {},
        "GPU 0 (card) is at 40 °C, and agent.gpu.require.max_temperature is 39.5 °C",
    ),
    (
        GpuRequirements(max_temperature=80),
        {"temperature": None, "failures": (("temperature", "NoPermission"),)},
        "GPU 0 (card) does not tell its temperature (NoPermission), and at most 80 °C are wanted",
    ),
    (
        GpuRequirements(no_ecc_errors=True),
        {"ecc_uncorrected": 1},
        "GPU 0 (card) counts 1 uncorrected memory errors (agent.gpu.require.no_ecc_errors)",
    ),
    (
        GpuRequirements(no_ecc_errors=True),
        {"memory_worn": True},
        "GPU 0 (card) has memory that waits for a reset to be taken out of use (agent.gpu.require.no_ecc_errors)",
    ),
    (
        GpuRequirements(no_ecc_errors=True),
        {"ecc_uncorrected": None, "failures": (("ecc uncorrected", "Unknown"),)},
        "GPU 0 (card) does not tell its memory errors (Unknown), and agent.gpu.require.no_ecc_errors is set",
    ),
    (
        GpuRequirements(no_ecc_errors=True),
        {"ecc_uncorrected": None, "memory_worn": None, "unsupported": ("ecc uncorrected", "memory worn")},
        "",
    ),
    (
        GpuRequirements(exclusive=True),
        {"processes": (DeviceProcess(7, GIB // 2), DeviceProcess(8))},
        "GPU 0 (card) is used by process 7 with 512 MiB, process 8 (agent.gpu.require.exclusive)",
    ),
    (
        GpuRequirements(exclusive=True),
        {"processes": None},
        "GPU 0 (card) does not tell its processes, and agent.gpu.require.exclusive is set",
    ),
    (
        EVERYTHING,
        {"reading": DeviceReading(0), "failures": (("name", "Invalid Argument"),), "processes": None},
        "GPU 0 is not there, or cannot be read (Invalid Argument)",
    ),
    (EVERYTHING, {"lost": True}, "GPU 0 (card) is lost: the driver says that it has fallen off the bus"),
]


@pytest.mark.parametrize(("require", "changes", "words"), CASES)
def test_what_is_said(require: GpuRequirements, changes: dict[str, Any], words: str) -> None:
    assert said(require, replace(FIT, **changes)) == words


@pytest.mark.parametrize(("_require", "changes", "_words"), CASES)
def test_B78_without_requirements_any_card_will_do(
    _require: GpuRequirements, changes: dict[str, Any], _words: str
) -> None:
    assert said(GpuRequirements(), replace(FIT, **changes), age=None, overdue=99.0, error="no driver") == ""


def test_every_unfit_card_is_named() -> None:
    hot = replace(FIT, device="GPU-2", temperature=99)
    text = said(EVERYTHING, replace(FIT, processes=(DeviceProcess(1),)), FIT, hot)
    assert text.count("; ") == 1
    assert text.startswith("GPU 0 (card) is used by process 1 ")
    assert "; GPU GPU-2 (card) is at 99 °C" in text


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"overdue": 30.0}, "the GPU driver has not answered for 30 s, so that agent.gpu.require cannot be checked"),
        ({"age": None, "error": "no library"}, "the GPUs cannot be read, so that agent.gpu.require cannot be checked"),
        ({"age": 10.1}, "the GPUs cannot be read, so that agent.gpu.require cannot be checked (there was no sample"),
    ],
)
def test_B72_what_nobody_knows_is_not_fulfilled(report: dict[str, Any], words: str) -> None:
    assert said(EVERYTHING, FIT, **report).startswith(words)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (3 * 2**20, "3 MiB"), (1.55 * GIB, "1.6 GiB")],
)
def test_sizes(count: float, words: str) -> None:
    assert size(count) == words
