"""The `agent:` section: strict, complete, and every problem told at once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from fedenvoy.config import AgentSettings, ArchiveSettings, LinkSettings, RequirementsSettings, ReviewSettings
from fedenvoy.configfile.agent_section import read_agent
from fedenvoy.configfile.findings import Findings
from fedenvoy.configfile.names import setting_names
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st


def read(section: dict[Any, Any], home: Path) -> tuple[AgentSettings, list[str]]:
    found = Findings("f.yaml")
    return read_agent(section, home=home, found=found), found.problems


def test_all_settings(tmp_path: Path) -> None:
    (tmp_path / "site.txt").write_text("numpy\n")
    settings, problems = read(
        {
            "home": str(tmp_path),
            "state_dir": "state",
            "python": sys.executable,
            "on_stop": "report",
            "drain_timeout": "5m",
            "stop_timeout": 3,
            "orphan_timeout": "1h",
            "kill_grace": 2.5,
            "link": {"tries": 3, "call_timeout": "20s", "settle": 5, "on_refused": "exit", "proxy": False},
            "poll": {"tries": 2, "timeout": 60},
            "fetch": {"tries": 1, "idle_timeout": "30s"},
            "archive": {"max_bytes": "1GiB", "max_unpacked_bytes": 0, "max_entries": 5, "max_ratio": 10},
            "review": {
                "mode": "hold",
                "policy": "site.txt",
                "timeout": "2h",
                "required_approvals": 2,
                "notify": ["sh", "-c", "true"],
                "webhook": "https://example.org/waits",
                "group": "root",
                "keep": "5MB",
            },
            "requirements": {"site": "site.txt", "inherit": True, "timeout": "1h"},
            "gpu": {"hide": True, "interval": 1},
            "report": {"detail": "code", "tries": 9, "retention": "1d"},
        },
        tmp_path,
    )
    assert problems == []
    assert settings.home == tmp_path
    assert settings.state_dir == tmp_path / "state"
    assert settings.python == Path(sys.executable)
    assert (settings.on_stop, settings.drain_timeout, settings.kill_grace) == ("report", 300.0, 2.5)
    assert settings.link == LinkSettings(tries=3, call_timeout=20, settle=5, on_refused="exit", proxy=False)
    assert settings.archive == ArchiveSettings(max_bytes=2**30, max_unpacked_bytes=0, max_entries=5, max_ratio=10)
    assert settings.review == ReviewSettings(
        mode="hold",
        policy=tmp_path / "site.txt",
        timeout=7200,
        required_approvals=2,
        notify=(shutil.which("sh") or "", "-c", "true"),
        webhook="https://example.org/waits",
        group="root",
        keep=5_000_000,
    )
    assert settings.requirements == RequirementsSettings(site=tmp_path / "site.txt", inherit=True, timeout=3600)
    assert (settings.gpu.hide, settings.report.retention, settings.fetch.tries) == (True, 86400.0, 1)


def test_empty_settings_and_sections_keep_their_defaults(tmp_path: Path) -> None:
    settings, problems = read({"link": None, "on_stop": None, "poll": {"tries": None}, "home": None}, tmp_path)
    assert problems == []
    assert settings == AgentSettings(home=tmp_path)


def test_every_setting_is_read_strictly(tmp_path: Path) -> None:
    """No setting may be forgotten: each refuses a value that fits none of them, and says so under its own name."""
    for name in setting_names():
        path = name.split(".")[1:]
        section: Any = object()
        for part in reversed(path):
            section = {part: section}
        _, problems = read(section, tmp_path)
        assert len(problems) == 1, name
        assert problems[0].startswith(f"f.yaml: {name}: <object object at")
        assert "expected" in problems[0]
    assert len(list(setting_names())) > len(attrs.fields(AgentSettings))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"drain_timeuot": 5}, "agent.drain_timeuot: 5: no such setting; did you mean drain_timeout?"),
        ({"link": {"trys": 5}}, "agent.link.trys: 5: no such setting; did you mean tries?"),
        ({"call_timeout": 5}, "agent.call_timeout: 5: no such setting; did you mean agent.link.call_timeout?"),
        ({"gpu": {"zzz": 1}}, "agent.gpu.zzz: 1: no such setting; agent.gpu has hide, interval"),
        ({1: 2}, "agent.1: 2: no such setting"),
        ({"link": 5}, "agent.link: 5: expected a section with settings of its own"),
        ({"link": ["a"]}, "agent.link: ['a']: expected a section"),
        ({"link": {"tries": 0}}, "agent.link.tries: 0: expected a whole number, 1 or more"),
        ({"link": {"proxy": "perhaps"}}, "agent.link.proxy: 'perhaps': expected true or false"),
        ({"on_director_loss": "stop"}, "agent.on_director_loss: 'stop': expected continue, or \"stop_after: 30m\""),
        (
            {"on_director_loss": {"stop_after": 0}},
            "agent.on_director_loss: {'stop_after': 0}: expected 1 seconds or more",
        ),
        ({"on_stop": "stay"}, "agent.on_stop: 'stay': expected leave or report"),
        ({"link": {"on_refused": True}}, "agent.link.on_refused: true: expected retry or exit"),
        ({"report": {"detail": "all"}}, "agent.report.detail: 'all': expected full, summary or code"),
        ({"review": {"mode": "callback"}}, "agent.review.mode: 'callback': expected accept, prompt,"),
        (
            {"review": {"required_approvals": 0}},
            "agent.review.required_approvals: 0: expected a whole number, 1 or more",
        ),
        ({"review": {"notify": "mail me"}}, "agent.review.notify: 'mail me': expected a command as a list of words"),
        ({"review": {"notify": ["no-such-one"]}}, "agent.review.notify: ['no-such-one']: expected a program that can"),
        ({"review": {"webhook": "file:///x"}}, "agent.review.webhook: 'file:///x': expected a URL that begins with"),
        ({"review": {"group": "nobody knows"}}, "agent.review.group: 'nobody knows': expected the name of a group"),
        ({"review": {"policy": "no.yaml"}}, "agent.review.policy: 'no.yaml': expected a file; there is none at"),
        ({"archive": {"max_bytes": "4G"}}, "agent.archive.max_bytes: '4G': expected a number of bytes"),
        ({"kill_grace": "soon"}, "agent.kill_grace: 'soon': expected 0 seconds or more"),
        ({"python": "no_such_python"}, "agent.python: 'no_such_python': expected a program that may be run"),
        ({"requirements": {"site": "none.txt"}}, "agent.requirements.site: 'none.txt': expected a file"),
        ({"on_stop": "x" * 500}, "agent.on_stop: 'xxxxxxxx"),
    ],
)
def test_problem(section: dict[Any, Any], sentence: str, tmp_path: Path) -> None:
    settings, problems = read(section, tmp_path)
    assert len(problems) == 1
    assert f"f.yaml: {sentence}" in problems[0]
    assert len(problems[0]) < 320
    assert settings == AgentSettings(home=tmp_path)


def test_all_problems_at_once(tmp_path: Path) -> None:
    section = {"on_stop": 1, "link": {"tries": 0, "x": 1, "y": 2}, "poll": 3, "report": {"detail": None, "tries": -1}}
    _, problems = read(section, tmp_path)
    assert [problem.split(": ")[1] for problem in problems] == [
        "agent.on_stop",
        "agent.link.tries",
        "agent.link.x",
        "agent.link.y",
        "agent.poll",
        "agent.report.tries",
    ]


NAMES = [part for name in setting_names() for part in name.split(".")]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.integers(), inner),
    max_leaves=8,
)


@hypothesis_settings(max_examples=30)  # each builds cattrs' functions anew
@given(section=st.dictionaries(st.sampled_from(NAMES) | st.integers() | st.none(), VALUES, max_size=6))
def test_whatever_stands_there_becomes_settings_or_sentences(section: dict[Any, Any]) -> None:
    settings, problems = read(section, Path("/nowhere"))
    assert isinstance(settings, AgentSettings)
    assert all("\n" not in problem and problem.startswith("f.yaml: agent.") for problem in problems)
