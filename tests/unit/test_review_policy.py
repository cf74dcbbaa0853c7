"""What a policy decides, and that nothing absent, unknown or wrong ever makes it approve."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from fedenvoy.errors import ConfigurationError
from fedenvoy.review.case import PastRun, ReviewCase
from fedenvoy.review.condition_readers import condition_names
from fedenvoy.review.flagged import WORDS
from fedenvoy.review.inspection import Inspection
from fedenvoy.review.policy import Policy, load
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pickled import carried, touches

ROOT = Path(__file__).parents[2]
DAY = 86400.0
DIGEST = "a" * 64
PLAN: dict[str, Any] = {
    "aggregator": {"template": "openfl.component.Aggregator", "settings": {"rounds_to_train": 10}},
    "task_runner": {
        "template": "openfl.federated.task.CoreTaskRunner",
        "required_plugin_components": {"framework_adapters": "openfl.plugins.Adapter"},
    },
    "network": {"settings": {"tls": True, "agg_addr": "director.example"}},
}
LOCK = f"""\
# made by uv
numpy==1.26.4 \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{"2" * 64}
    # via -r requirements.txt
openfl==1.6 --hash=sha256:{"3" * 64}
"""


def case(tmp_path: Path | None = None, **changes: Any) -> ReviewCase:
    workspace = tmp_path or Path("/nonexistent")
    facts: dict[str, Any] = {
        "experiment": "brain-3",
        "digest": DIGEST,
        "size": 1000,
        "plan": PLAN,
        "plan_path": workspace / "plan" / "plan.yaml",
        "workspace": workspace,
        "requirements": "numpy\nopenfl==1.6",
        "lock": LOCK,
        "lock_digest": "b" * 64,
        "engine": "openfl",
        "received_at": 1_000_000.0,
    }
    return ReviewCase(**{**facts, **changes})


def policy(tmp_path: Path, text: Any) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
    return load(path, "policy.yaml")


def approves(tmp_path: Path, when: dict[str, Any]) -> Policy:
    return policy(tmp_path, {"rules": [{"name": "ok", "decision": "approve", "when": when}], "default": "hold"})


def plan_with(path: str, value: Any) -> dict[str, Any]:
    plan: dict[str, Any] = yaml.safe_load(yaml.safe_dump(PLAN))
    *folders, last = path.split(".")
    place = plan
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = value
    return plan


def short(value: object) -> str:
    return str(value)[:50]


GOOD: list[dict[str, Any]] = [
    {"experiments": ["lung-*", "brain-?"]},
    {"engines": ["callable", "openfl"]},
    {"templates": ["openfl"]},
    {"templates": ["openfl.component.*", "openfl.federated.", "openfl.plugins.Adapter"]},
    {"bounds": ["aggregator.settings.rounds_to_train <= 10", "aggregator.settings.rounds_to_train>9.5"]},
    {"bounds": ["aggregator.settings.rounds_to_train == 10"]},
    {"values": {"network.settings.tls": True, "network.settings.agg_addr": ["other", "director.example"]}},
    {"requirements": {"only": ["NumPy<2", "openfl==1.6"], "hashed": True}},
    {"requirements": {"only": [f"numpy --hash=sha256:{'1' * 64} --hash=sha256:{'2' * 64}", "openfl"]}},
    {"digests": ["b" * 64, f"sha256:{'A' * 64}"]},
    {"size": {"archive": "1kB"}},
    {"runs": {"most": 1, "period": "24h"}},
]


@pytest.mark.parametrize("when", GOOD, ids=short)
def test_a_condition_that_is_fulfilled_approves(tmp_path: Path, when: dict[str, Any]) -> None:
    judged = approves(tmp_path, when).judge(case(), ())
    assert judged.decision == "approve", judged.passed_over
    assert judged.rule == "ok"
    assert judged.sentence == f"approved by the rule 'ok': its conditions hold ({', '.join(when)})"


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"experiments": ["brain"]}, {}, "matches none of 'brain'"),
    ({"experiments": ["BRAIN-*"]}, {}, "matches none"),
    ({"experiments": ["brain-*"]}, {"experiment": "x\nbrain-1"}, "'x\\nbrain-1' matches none"),
    ({"engines": ["callable"]}, {}, "its engine is 'openfl'"),
    ({"templates": ["open"]}, {}, "lies below none of 'open'"),
    ({"templates": ["openfl"]}, {"plan": {}}, "names no template"),
    ({"templates": ["openfl"]}, {"plan": plan_with("a.b.template", "evil.Run")}, "'evil.Run'"),
    ({"templates": ["openfl"]}, {"plan": plan_with("a", [{"template": "os.system"}])}, "'a.0.template'"),
    ({"templates": ["openfl"]}, {"plan": plan_with("a.template", ["openfl.x"])}, "does not say"),
    ({"templates": ["openfl"]}, {"plan": plan_with("a.template", 3)}, "does not say"),
    (
        {"templates": ["openfl"]},
        {"plan": plan_with("api_layer.required_plugin_components.x", "os.system")},
        "os.system",
    ),
    ({"templates": ["openfl"]}, {"plan": plan_with("task_runner.defaults", "../../own.yaml")}, "task_runner.defaults"),
    ({"templates": ["openfl"]}, {"plan": plan_with("callable.entry", "evil:run")}, "'evil:run'"),
    ({"bounds": ["aggregator.settings.rounds_to_train < 10"]}, {}, "is 10, not < 10"),
    ({"bounds": ["aggregator.rounds_to_train <= 10"]}, {}, "has no aggregator.rounds_to_train"),
    ({"bounds": ["aggregator.settings.x <= 10"]}, {"plan": plan_with("aggregator.settings.x", "5")}, "no number"),
    ({"bounds": ["aggregator.settings.x <= 10"]}, {"plan": plan_with("aggregator.settings.x", True)}, "no number"),
    ({"bounds": ["aggregator.settings.x <= 10"]}, {"plan": plan_with("aggregator.settings.x", None)}, "no number"),
    (
        {"bounds": ["aggregator.settings.x <= 10"]},
        {"plan": plan_with("aggregator.settings.x", float("nan"))},
        "no number",
    ),
    ({"bounds": ["a.x >= 10"]}, {"plan": plan_with("a.x", float("inf"))}, "no number"),
    ({"values": {"network.settings.tls": 1}}, {}, "is true, not 1"),
    ({"values": {"network.settings.none": True}}, {}, "has no network.settings.none"),
    ({"requirements": {"only": ["openfl"]}}, {}, "requires numpy, which is not listed"),
    ({"requirements": {"only": ["openfl", "numpy>=2"]}}, {}, "numpy 1.26.4, which is not as listed"),
    ({"requirements": {"only": ["openfl", f"numpy --hash=sha256:{'1' * 64}"]}}, {}, "not as listed"),
    ({"requirements": {"only": ["openfl", "numpy<2"]}}, {"lock": ""}, "in no certain version"),
    ({"requirements": {"only": ["evil"]}}, {"lock": "", "requirements": "evil @ https://evil.example/x"}, "an address"),
    ({"requirements": {"only": ["numpy"]}}, {"lock": "", "requirements": "-i https://e.example\nnumpy"}, "an option"),
    ({"requirements": {"only": ["numpy"]}}, {"lock": "", "requirements": "./numpy.whl"}, "not a name"),
    ({"requirements": {"hashed": True}}, {"lock": ""}, "not locked"),
    ({"requirements": {"hashed": True}}, {"lock": LOCK + "pip==24.0\n"}, "pip is locked without a hash"),
    ({"digests": ["b" * 64]}, {}, "is not listed"),
    ({"size": {"archive": 999}}, {}, "more than 999 B"),
    ({"size": {"files": 5}}, {}, "could not be judged"),
    ({"pickles": "none"}, {}, "could not be judged"),
    ({"runs": {"most": 0, "period": "24h"}}, {}, "0 runs"),
]


@pytest.mark.parametrize(("when", "changes", "why"), BAD, ids=short)
def test_a_condition_that_is_not_fulfilled_does_not_approve(
    tmp_path: Path, when: dict[str, Any], changes: dict[str, Any], why: str
) -> None:
    judged = approves(tmp_path, when).judge(case(**changes), ())
    assert judged.decision == "hold"
    assert judged.rule == "default"
    said = judged.reason + "".join(one.why for one in judged.passed_over)
    assert why in said
    assert said.isprintable()


def test_nothing_to_install_needs_no_hashes(tmp_path: Path) -> None:
    rule = approves(tmp_path, {"requirements": {"hashed": True, "only": "none"}})
    assert rule.judge(case(requirements="", lock="")).decision == "approve"
    assert rule.judge(case(requirements="x", lock="")).decision == "hold"


@pytest.mark.parametrize(
    ("pickles", "decision"),
    [
        ("none", "hold"),
        ({"flagged": "none"}, "approve"),
        ({"imports": ["builtins", "collections", "cloudpickle", "types"]}, "approve"),
        ({"imports": ["builtins", "collections", "types"]}, "hold"),
        ({"flagged": "none", "code": "none"}, "hold"),
        ({"code": ["eval"]}, "approve"),
    ],
)
def test_pickles_are_judged_by_what_they_import(tmp_path: Path, pickles: Any, decision: str) -> None:
    (tmp_path / "tasks.pkl").write_bytes(carried())
    judged = approves(tmp_path, {"pickles": pickles}).judge(case(tmp_path))
    assert judged.decision == decision, judged


@pytest.mark.parametrize(
    ("flagged", "decision"), [("none", "hold"), (["os"], "hold"), (["posix"], "approve"), ("any", "approve")]
)
def test_flags_may_be_allowed_by_name(tmp_path: Path, flagged: Any, decision: str) -> None:
    (tmp_path / "tasks.pkl").write_bytes(touches(tmp_path / "canary"))
    assert approves(tmp_path, {"pickles": {"flagged": flagged}}).judge(case(tmp_path)).decision == decision
    assert not (tmp_path / "canary").exists()


def test_a_flag_must_be_allowed_even_where_its_import_is_listed(tmp_path: Path) -> None:
    (tmp_path / "tasks.pkl").write_bytes(touches(tmp_path / "canary"))
    for pickles, decision in (({"imports": ["posix"]}, "hold"), ({"imports": ["posix"], "flagged": "any"}, "approve")):
        assert approves(tmp_path, {"pickles": pickles}).judge(case(tmp_path)).decision == decision


def test_a_pickle_that_was_not_seen_wholly_fulfils_nothing(tmp_path: Path) -> None:
    (tmp_path / "tasks.pkl").write_bytes(pickle.dumps([1])[:-1])
    for pickles in ({"flagged": "any"}, {"imports": ["numpy"]}):
        assert approves(tmp_path, {"pickles": pickles}).judge(case(tmp_path)).decision == "hold"
    given_before = Inspection(problems=("the time was over",))
    (tmp_path / "tasks.pkl").unlink()
    rule = approves(tmp_path, {"pickles": {"flagged": "any"}})
    assert rule.judge(case(tmp_path), (), given_before).decision == "hold"
    assert rule.judge(case(tmp_path)).decision == "approve"


def test_runs_are_counted_by_whom_they_may_be_from(tmp_path: Path) -> None:
    now = 1_000_000.0
    past = [PastRun("brain-1", now - 100), PastRun("brain-2", now - 2 * DAY), PastRun("lung-1", now - 200)]

    def decision(**runs: Any) -> str:
        return approves(tmp_path, {"runs": {"period": "24h", **runs}}).judge(case(), past).decision

    assert decision(most=2) == "hold"
    assert decision(most=3) == "approve"
    assert decision(most=1, per="prefix") == "hold"
    assert decision(most=2, per="prefix") == "approve"
    assert decision(most=1, per="prefix", separator="/") == "approve"
    assert decision(most=1, per="name") == "approve"
    unknown = approves(tmp_path, {"runs": {"most": 5, "period": "24h"}}).judge(case(), None)
    assert unknown.decision == "hold"
    assert "not known" in unknown.passed_over[0].why


def test_what_unless_names_must_hold_or_the_rule_decides(tmp_path: Path) -> None:
    (tmp_path / "tasks.pkl").write_bytes(touches(tmp_path / "canary"))
    rules = [
        {"name": "no shells", "decision": "reject", "unless": {"pickles": {"flagged": "none"}}},
        {"name": "rest", "decision": "approve", "when": {"experiments": ["*"]}},
    ]
    judged = policy(tmp_path, {"rules": rules, "default": "hold"}).judge(case(tmp_path))
    assert (judged.decision, judged.rule) == ("reject", "no shells")
    assert (
        judged.sentence
        == "rejected by the rule 'no shells': pickles: tasks.pkl imports or calls posix when it is loaded"
    )
    (tmp_path / "tasks.pkl").unlink()
    judged = policy(tmp_path, {"rules": rules, "default": "hold"}).judge(case(tmp_path))
    assert judged.decision == "approve"
    assert judged.passed_over[0].why == "what it names under unless holds (pickles)"


# ---- The file


def problems(tmp_path: Path, text: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        policy(tmp_path, text)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    "text",
    ["", "rules: []\ndefault: hold\n", "[]", "rules: {}\ndefault: reject\n", "a: [", "default: hold\n", "rules:\n"],
)
def test_an_empty_policy_is_none(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


def test_a_policy_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match="expected"):
            load(path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load(tmp_path / "bytes")
    (tmp_path / "large").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConfigurationError, match="larger"):
        load(tmp_path / "large")


def test_all_problems_are_told_at_once_with_place_value_and_what_was_expected(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        """
rule: 1
default: approve
rules:
  - name: a
    decision: aprove
    when: {experiment: [x], bounds: ["rounds = 3", "a.b <= x"], runs: {per: user, most: -1}}
  - name: a
    decision: approve
    unless: {engines: [openfl]}
  - [x]
  - decision: hold
    when:
      templates: ["a b"]
      digests: ["abc"]
      pickles: {flagged: [oz], imports: []}
      size: {archive: big}
      requirements: {only: ["x @ https://x"], hashed: 3}
      values: {}
""",
    )
    wanted = [
        "policy.yaml: rule: 1: no such key; did you mean rules?",
        "policy.yaml: default: 'approve': expected reject or hold; to approve the rest, end with a rule that says so",
        "rules[0].decision: 'aprove': expected approve, reject or hold; did you mean approve?",
        "rules[0].when.experiment: ['x']: no such key; did you mean experiments?",
        "rules[0].when.bounds[0]: 'rounds = 3': expected a bound",
        "rules[0].when.bounds[1]: 'a.b <= x': expected a bound",
        "rules[0].when.runs.per: 'user': expected director, name or prefix",
        "rules[0].when.runs.most: -1: expected a whole number",
        "rules[0].when.runs.period: missing",
        "rules[1].when: empty: expected at least one condition",
        "rules[1].unless: 'engines': expected none in a rule that approves",
        "rules[2]: ['x']: expected a rule",
        "rules[3].name: empty: expected a name",
        "rules[3].when.templates[0]: 'a b': expected a dotted name",
        "rules[3].when.digests[0]: 'abc': expected the SHA-256",
        "rules[3].when.pickles.flagged[0]: 'oz': expected a word",
        "rules[3].when.pickles.imports: []: expected a list",
        "rules[3].when.size.archive: 'big': expected a number of bytes",
        "rules[3].when.requirements.only[0]: 'x @ https://x': expected a name with its versions",
        "rules[3].when.requirements.hashed: 3: expected true or false",
        "rules[3].when.values: {}: expected dotted paths",
        "policy.yaml: rules: 'a': expected a name of its own",
    ]
    for one in wanted:
        assert any(one in problem for problem in told), one
    assert len(told) == len(wanted), told


def test_the_digest_is_the_file_s(tmp_path: Path) -> None:
    text = "rules: [{name: a, decision: hold}]\ndefault: reject\n"
    assert policy(tmp_path, text).digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_example_can_be_read(tmp_path: Path) -> None:
    example = load(ROOT / "docs" / "examples" / "policy.yaml")
    assert len(example.rules) == 4
    judged = example.judge(case(tmp_path))
    assert (judged.decision, judged.rule) == ("approve", "known studies within bounds")
    many = plan_with("aggregator.settings.rounds_to_train", 51)
    judged = example.judge(case(tmp_path, plan=many))
    assert (judged.decision, judged.rule) == ("hold", "default")
    assert "51, not <= 50" in judged.passed_over[-1].why


def test_the_page_about_reviews_names_every_condition_and_every_word() -> None:
    page = (ROOT / "docs" / "review.md").read_text(encoding="utf-8")
    table = page.partition("| condition |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(condition_names())
    words = page.partition("### The words")[2].partition("### What it cannot see")[0]
    assert set(re.findall(r"`([^`]+)`", words)) == WORDS


def test_the_example_on_the_page_can_be_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "review.md").read_text(encoding="utf-8")
    example = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "rules:" in block)
    assert policy(tmp_path, example).default == "hold"


# ---- Properties


CONDITIONS = st.sampled_from([{}, *GOOD, *(when for when, changes, _ in BAD if not changes)])
RULES = st.lists(st.tuples(st.sampled_from(["approve", "reject", "hold"]), CONDITIONS), min_size=1, max_size=6)


@given(rules=RULES, default=st.sampled_from(["hold", "reject"]))
@settings(max_examples=25, deadline=None)
def test_the_first_rule_that_matches_decides(
    tmp_path_factory: pytest.TempPathFactory, rules: list[tuple[str, dict[str, Any]]], default: str
) -> None:
    made = [
        {"name": str(index), "decision": decision, "when": when or {"experiments": ["*"]}}
        for index, (decision, when) in enumerate(rules)
    ]
    folder = tmp_path_factory.getbasetemp()
    whole = policy(folder, {"rules": made, "default": default})
    alone = [policy(folder, {"rules": [one], "default": default}).judge(case()) for one in made]
    judged = whole.judge(case())
    deciding = next(
        (index for index, one in enumerate(alone) if one.rule != "default" or "could not" in one.reason), None
    )
    if deciding is None or alone[deciding].rule == "default":
        assert (judged.decision, judged.rule) == (default, "default")
    else:
        assert (judged.decision, judged.rule) == (made[deciding]["decision"], str(deciding))
        assert [one.rule for one in judged.passed_over] == [str(index) for index in range(deciding)]


NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=True, allow_infinity=True)


@given(value=NUMBERS, smaller=NUMBERS, bound=st.integers(-1000, 1000), sign=st.sampled_from(["<=", "<", ">=", ">"]))
@settings(max_examples=100, deadline=None)
def test_bounds_are_monotone(value: float, smaller: float, bound: int, sign: str) -> None:
    from fedenvoy.review.conditions import Bound

    one = Bound("a.b", sign, bound)

    def holds(number: float) -> bool:
        return not one.unmet({"a": {"b": number}})

    finite = all(number == number and abs(number) != float("inf") for number in (value, smaller))  # noqa: PLR0124
    if finite and holds(value) and (smaller <= value if sign.startswith("<") else smaller >= value):
        assert holds(smaller)
    if not finite:
        assert not (holds(value) and holds(smaller))


@given(
    plan=st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.integers() | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "template", "0"]), inner)
        ),
        max_leaves=10,
    ),
    path=st.lists(st.sampled_from(["a", "b", "template", "0"]), min_size=1, max_size=3).map(".".join),
)
@settings(max_examples=100, deadline=None)
def test_an_absent_value_fulfils_no_bound_and_no_value(plan: Any, path: str) -> None:
    from fedenvoy.review.conditions import COMPARISONS, Bound, Templates, Values
    from fedenvoy.review.facts import Facts

    present, value = True, plan
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part == "0" and value:
            value = value[0]
        else:
            present = False
            break
    whole = plan if isinstance(plan, dict) else {}
    facts = Facts(case(plan=whole), ())
    bounds = [Bound(path, sign, 0).unmet(plan) for sign in COMPARISONS]
    if not present:
        assert all(bounds)
        assert Values(((path, (None, True, 0, "")),)).unmet(facts)
    assert Templates(("nothing.of.this",)).unmet(facts)


def test_a_plan_full_of_aliases_is_searched_once(tmp_path: Path) -> None:
    plan: dict[str, Any] = {"template": "openfl.x"}
    for _ in range(60):
        plan = {"a": plan, "b": plan, "c": [plan, plan]}
    assert approves(tmp_path, {"templates": ["openfl"]}).judge(case(plan=plan)).decision == "approve"


def test_a_judgement_that_fails_approves_nothing(tmp_path: Path) -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("gone")

    rules = [
        {"name": "broken", "decision": "reject", "when": {"templates": ["openfl"]}},
        {"name": "all", "decision": "approve", "when": {"experiments": ["*"]}},
    ]
    judged = policy(tmp_path, {"rules": rules, "default": "reject"}).judge(case(plan=Broken(a=1)))
    assert judged.decision == "reject"
    assert "'broken' could not be judged (RuntimeError)" in judged.sentence


def test_judgements_and_policies_are_frozen(tmp_path: Path) -> None:
    judged = approves(tmp_path, {"engines": ["openfl"]}).judge(case())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        judged.decision = "approve"  # type: ignore[misc]
