"""Reads a site's policy: strict, and everything wrong in it is told at once, with what was expected.

The format is described in docs/review.md; `condition_readers` reads the conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from fedenvoy.configfile.findings import Findings, nearest
from fedenvoy.review.condition_readers import known, read_conditions
from fedenvoy.review.facts import Condition

__all__ = ["APPROVE", "DECISIONS", "DEFAULT", "HOLD", "REJECT", "Rule", "read_rules"]

APPROVE, REJECT, HOLD = "approve", "reject", "hold"
DECISIONS = (APPROVE, REJECT, HOLD)
DEFAULT = "default"
"""Stands for the rule where none matches; no rule may have this name."""
MOST_RULES = 500
"""Rules that a policy may have."""


@frozen
class Rule:
    """One rule: it decides where all of `when` are fulfilled and, if there are any, not all of `unless`."""

    name: str
    decision: str
    when: tuple[tuple[str, Condition], ...] = ()
    """Conditions by their name in the file."""
    unless: tuple[tuple[str, Condition], ...] = ()


def read_rules(document: Mapping[Any, Any], found: Findings) -> tuple[tuple[Rule, ...], str]:
    """Read the rules and the default decision; problems go into `found`, and what is given back is then incomplete."""
    known(document, ("rules", "default"), "", found)
    default = document.get("default")
    if default is None:
        found.missing("default", f"expected {REJECT} or {HOLD}: what is decided where no rule matches")
    elif default not in (REJECT, HOLD):
        hint = "; to approve the rest, end with a rule that says so" if default == APPROVE else ""
        found.problem("default", default, f"expected {REJECT} or {HOLD}{hint}")
    listed = document.get("rules")
    if not isinstance(listed, list) or not listed:
        found.problem("rules", listed, "expected a list of rules, at least one")
        return (), str(default)
    if len(listed) > MOST_RULES:
        found.problem("rules", f"{len(listed)} rules", f"expected at most {MOST_RULES}")
        return (), str(default)
    rules = [rule for index, one in enumerate(listed) if (rule := _rule(one, f"rules[{index}]", found))]
    seen = {DEFAULT}
    for rule in rules:
        if rule.name in seen:
            found.problem("rules", rule.name, "expected a name of its own: a decision must tell which rule made it")
        seen.add(rule.name)
    return tuple(rules), str(default)


def _rule(value: object, where: str, found: Findings) -> Rule | None:
    if not isinstance(value, Mapping):
        found.problem(where, value, "expected a rule: name, decision, when")
        return None
    known(value, ("name", "decision", "when", "unless"), where, found)
    name, decision = value.get("name"), value.get("decision")
    if not isinstance(name, str) or not name.strip() or len(name) > 100 or not name.isprintable():
        found.problem(f"{where}.name", name, "expected a name for the rule, at most 100 characters, printable")
    if decision not in DECISIONS:
        found.problem(
            f"{where}.decision", decision, f"expected {APPROVE}, {REJECT} or {HOLD}{nearest(decision, DECISIONS)}"
        )
    when = read_conditions(value.get("when"), f"{where}.when", found)
    unless = read_conditions(value.get("unless"), f"{where}.unless", found)
    if decision == APPROVE and not when:
        found.problem(
            f"{where}.when", value.get("when"), "expected at least one condition: nothing is approved without"
        )
    if decision == APPROVE and unless:
        text = f"expected none in a rule that approves: what is absent would approve; write them under {where}.when"
        found.problem(f"{where}.unless", ", ".join(name for name, _ in unless), text)
    return Rule(str(name), str(decision), when, unless)
