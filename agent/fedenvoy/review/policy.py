"""A site's policy: rules in a file that decide about experiments while nobody is at the keyboard.

The first rule that matches decides; where none does, the default: reject or hold, never approve. A policy that cannot
be read decides nothing, and a rule that cannot be judged approves nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from fedenvoy.configfile.findings import Findings
from fedenvoy.configfile.reading import parse_mapping
from fedenvoy.errors import ConfigurationError
from fedenvoy.review.case import PastRun, ReviewCase
from fedenvoy.review.facts import Facts
from fedenvoy.review.inspection import Inspection
from fedenvoy.review.policy_file import APPROVE, DEFAULT, HOLD, REJECT, Rule, read_rules

__all__ = ["APPROVE", "DEFAULT", "HOLD", "REJECT", "Judgement", "PassedOver", "Policy", "load"]

logger = logging.getLogger(__name__)

LARGEST = 2**20
"""Bytes that a policy may have."""
_DONE = {APPROVE: "approved", REJECT: "rejected", HOLD: "held for a person"}


@frozen
class PassedOver:
    """A rule that stood before the one that decided, and did not match."""

    rule: str
    why: str
    """The condition that was not fulfilled, and the reason, as a clause."""


@frozen
class Judgement:
    """What a policy decides about one experiment."""

    decision: str
    """`approve`, `reject` or `hold`."""
    rule: str
    """The rule that decided; `default` where none did."""
    reason: str
    """Why, as a clause."""
    passed_over: tuple[PassedOver, ...] = ()
    """The rules before it, and why each did not match."""

    @property
    def sentence(self) -> str:
        """Say what was decided, by which rule and why."""
        by = "by the policy's default" if self.rule == DEFAULT else f"by the rule {self.rule!r}"
        return f"{_DONE[self.decision]} {by}: {self.reason}"


@frozen
class Policy:
    """Rules, in their order, and what is decided where none matches."""

    source: str
    """How the file was named."""
    digest: str
    """SHA-256 of the file, hexadecimal."""
    rules: tuple[Rule, ...]
    default: str
    """`reject` or `hold`."""

    def judge(
        self, case: ReviewCase, history: Sequence[PastRun] | None = (), inspection: Inspection | None = None
    ) -> Judgement:
        """Decide about an experiment. Never raises; what cannot be judged is decided by the default.

        Args:
            case: The experiment.
            history: The runs that were approved here before; None where they are not known.
            inspection: What its workspace holds, where somebody looked already; otherwise it is looked at when a rule
                asks for it, which may take seconds.

        """
        facts = Facts(case, history, inspection)
        passed: list[PassedOver] = []
        for rule in self.rules:
            try:
                matches, why = _match(rule, facts)
            except Exception as error:  # whatever an experiment provokes, it is not approved by it
                logger.warning("the policy's rule %r could not be judged", rule.name, exc_info=True)
                reason = f"the rule {rule.name!r} could not be judged ({type(error).__name__})"
                return Judgement(self.default, DEFAULT, reason, tuple(passed))
            if matches:
                return Judgement(rule.decision, rule.name, why, tuple(passed))
            passed.append(PassedOver(rule.name, why))
        count = f"none of its {len(self.rules)} rules matches" if len(self.rules) > 1 else "its one rule does not match"
        return Judgement(self.default, DEFAULT, count, tuple(passed))


def _match(rule: Rule, facts: Facts) -> tuple[bool, str]:
    """Whether a rule matches, and the reason either way."""
    for name, condition in rule.when:
        if why := condition.unmet(facts):
            return False, f"{name}: {why}"
    met = ", ".join(name for name, _ in rule.when)
    if not rule.unless:
        return True, f"its conditions hold ({met})" if met else "it has no conditions"
    for name, condition in rule.unless:
        if why := condition.unmet(facts):
            return True, f"{name}: {why}"
    return False, f"what it names under unless holds ({', '.join(name for name, _ in rule.unless)})"


def load(path: Path, source: str = "") -> Policy:
    """Read a policy.

    Args:
        path: The file.
        source: How the user named it, for the sentences; default: `path`.

    Raises:
        ConfigurationError: It cannot be read, or is not a policy; with every problem found.

    """
    name = source or str(path)
    data = _content(path, name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name}: expected UTF-8 text, but byte {error.start + 1} is not") from None
    document = parse_mapping(text, name, "a policy with `rules:` and `default:`")
    found = Findings(name)
    rules, default = read_rules(document, found)
    if found.problems:
        raise ConfigurationError(*found.problems)
    return Policy(name, hashlib.sha256(data).hexdigest(), rules, default)


def _content(path: Path, name: str) -> bytes:
    """Read the file once: what is judged by and what is digested must be the same."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{name}: expected a policy's file, but this is something else")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{name}: no such file; expected the site's policy (agent.review.policy)") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{name}: cannot be read: {reason}") from None
    if len(data) > LARGEST:
        raise ConfigurationError(f"{name}: expected a policy, but the file is larger than 1 MiB")
    return data
