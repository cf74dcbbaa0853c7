"""Which engine takes which plan."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from fedenvoy.engines import registry
from fedenvoy.engines.registry import choose, known

OPENFL: dict[str, Any] = {
    "aggregator": {"settings": {"rounds_to_train": 1}},
    "collaborator": {},
    "network": {},
    "task_runner": {"template": "openfl.federated.task.task_runner.CoreTaskRunner"},
    "api_layer": {"settings": {"model_interface_file": "model_obj.pkl"}},
}
CALLABLE = {"callable": {"entry": "src.tasks:Class.method", "params": {}}}
OTHER = """
class Other:
    name = "other"
    def claims(self, plan):
        return "other" in plan
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if other packages offered one engine that works, one that does not, and one under a name of ours."""
    (tmp_path / "other_engine.py").write_text(OTHER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "other_engine", raising=False)
    found = EntryPoints(
        EntryPoint(name, value, registry.GROUP)
        for name, value in {
            "broken": "no_such_module:Engine",
            "other": "other_engine:Other",
            "openfl": "other_engine:Other",
        }.items()
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: found.select(group=group))


def test_a_plan_gets_the_engine_it_names_or_the_one_that_claims_it() -> None:
    assert choose(OPENFL).name == "openfl"
    assert choose(CALLABLE).name == "callable"
    assert choose({"engine": "callable"}).name == "callable"
    assert choose({**CALLABLE, "engine": "openfl"}).name == "openfl"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"engine": "nvflare"}, "asks for the engine 'nvflare'; this node has: callable, openfl"),
        ({"engine": ["openfl"]}, "asks for the engine"),
        ({}, "no engine takes this plan; name one in its `engine` line: callable, openfl"),
        ({"aggregator": {}}, "no engine takes this plan"),
    ],
)
def test_a_plan_without_an_engine_is_told_which_there_are(plan: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choose(plan)


def test_the_engines_of_other_packages_are_found_and_a_broken_one_does_not_matter(
    installed: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert known() == ("callable", "openfl", "broken", "other")
    assert choose({"other": {}}).name == "other"
    assert "'broken' cannot be loaded" in caplog.text
    assert choose(OPENFL).name == "openfl", "a name of ours stays ours"
    with pytest.raises(ValueError, match="the engine 'broken' cannot be loaded: ModuleNotFoundError"):
        choose({"engine": "broken"})


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"callable": None}, "no `callable` section"),
        ({"callable": {}}, "must be package.module:function, not None"),
        ({"callable": {"entry": "os.system"}}, "must be package.module:function"),
        ({"callable": {"entry": "a:b()"}}, "must be package.module:function"),
        ({"callable": {"entry": "a:b", "params": []}}, "params must be a mapping"),
    ],
)
def test_a_callable_plan_is_checked_before_anything_is_installed(plan: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        choose({**plan, "engine": "callable"}).check(plan, Path("/"))
    choose(CALLABLE).check(CALLABLE, Path("/"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"engine": "openfl"}, "section 'engine' must be a mapping"),
        ({"network": None}, "section 'network' must be a mapping"),
        ({"task_runner": {}}, "task_runner.template must name a class"),
        ({"api_layer": {"settings": {"tasks_interface_file": "missing.pkl"}}}, "'missing.pkl' .* not in the archive"),
        ({"api_layer": {"settings": []}}, None),
        ({"api_layer": {"settings": "x"}}, "must be a mapping"),
    ],
)
def test_an_openfl_plan_is_checked_before_anything_is_installed(
    tmp_path: Path, change: dict[str, Any], words: str | None
) -> None:
    (tmp_path / "model_obj.pkl").touch()
    choose(OPENFL).check(OPENFL, tmp_path)
    plan = {**OPENFL, **change}
    if words is None:
        choose(OPENFL).check(plan, tmp_path)
        return
    with pytest.raises(ValueError, match=words):
        choose(OPENFL).check(plan, tmp_path)


def test_an_openfl_plan_without_a_network_is_refused(tmp_path: Path) -> None:
    plan = {name: section for name, section in OPENFL.items() if name != "network"}
    with pytest.raises(ValueError, match="no section 'network'"):
        choose(plan).check(plan, tmp_path)


def test_an_engine_says_what_it_needs_and_which_script_it_is() -> None:
    for plan in (OPENFL, CALLABLE):
        assert choose(plan).program().is_file()
    assert choose(OPENFL).needs(OPENFL).packages == ("openfl==1.6", "numpy<2", "pandas<3")
    assert choose(CALLABLE).needs(CALLABLE).packages == ()
