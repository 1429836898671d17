# SPDX-License-Identifier: Apache-2.0
"""Which rules of which policies no case has ever made allow, or deny: what nobody has tried, nobody knows.

A case counts where it comes out as it expects; of a rule, what counts is the outcome in the very document, so that a
denial by the baseline is none by the site's policy. A case that does not is told by `cloister.policies.failures`, and
the rules that it would try are not told here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from cloister.documents import Document, KeyPath
from cloister.errors import Problem
from cloister.policies.cases import CASES
from cloister.policies.check import Rule
from cloister.policies.decision import Effect
from cloister.policies.failures import would_try
from cloister.policies.model import Policy
from cloister.policies.rules import RULES
from cloister.policies.sections import DatasetGrant
from cloister.policies.trial import Result

Asked = Callable[[Policy], bool]


def _grants(policy: Policy, says: Callable[[DatasetGrant], object]) -> bool:
    return any(says(grant) is not None for grant in (policy.datasets or {}).values())


_SPEAKS_ONLY_WHERE: Mapping[str, Asked] = {
    "approval": lambda policy: _grants(policy, lambda grant: grant.approval),
    "rows": lambda policy: _grants(policy, lambda grant: grant.rows) or _grants(policy, lambda grant: grant.filter),
    "free-text": lambda policy: _grants(policy, lambda grant: grant.free_text),
    "statistics": lambda policy: policy.may_leave is not None and policy.may_leave.statistics is not None,
    "classes": lambda policy: _grants(policy, lambda grant: grant.minimum_per_class),
    "round-records": lambda policy: (
        policy.training is not None and policy.training.minimum_records_per_round is not None
    ),
    "secure-aggregation": lambda policy: (
        policy.aggregation is not None and policy.aggregation.secure_aggregation is not None
    ),
    "update-norm": lambda policy: policy.may_leave is not None and policy.may_leave.maximum_norm is not None,
}
"""Rules about an optional key of a section, which say nothing where the key is not written."""

_NEVER_ALLOWS: Mapping[str, Asked] = {
    "code": lambda policy: policy.code == "forbidden",
    "privacy": lambda _: True,
    "secure-aggregation": lambda _: True,
    "release": lambda policy: policy.release is not None and policy.release.approved_by is not None,
}
"""Rules that deny whatever is asked: what they demand is forbidden outright, or cannot be kept by this version."""

_BY_CLASSES = frozenset({"accuracy", "macro_f1", "loss"})
"""What jobs that sort into classes can be chosen by; those of other tasks are asked for where such a job is tried."""

_NEVER_DENIES: Mapping[str, Asked] = {
    "free-text": lambda policy: all(grant.free_text in ("mask", "keep") for grant in (policy.datasets or {}).values()),
    "selection-metric": lambda policy: policy.may_leave is not None and _BY_CLASSES.issubset(policy.may_leave.metrics),
    "release": lambda policy: (
        policy.release is not None and policy.release.approved_by is None and (policy.release.minimum_sites or 1) == 1
    ),
}
"""Rules that no valid job can break, or none that sorts into classes: every metric that it may name is granted, free
text is dealt with in every dataset, nothing is demanded of a job."""


def uncovered(policies: Mapping[str, Document[Policy]], results: Iterable[Result]) -> list[Problem]:
    """One problem for each effect that no case shows of a rule that a policy uses, or of a rule that it waives."""
    asked = tuple(results)
    seen = {
        (_name_of(result, outcome.document), outcome.rule, outcome.effect)
        for result in asked
        if result.passed
        for outcome in result.decision.outcomes
    }
    for name in policies:
        seen |= would_try(name, asked)
    return [
        _problem(document, name, rule, effect, path)
        for name, document in policies.items()
        for rule, effect, path in _demanded(document.value)
        if (name, rule, effect) not in seen
    ]


def uses(policy: Policy, rule: Rule) -> bool:
    """Whether ``policy`` says something that ``rule`` reads."""
    if rule.id == "validity":  # every policy has its dates
        return True
    written = any(getattr(policy, section) is not None for section in rule.sections)
    return written and _holds(_SPEAKS_ONLY_WHERE, rule, policy, otherwise=True)


def _holds(table: Mapping[str, Asked], rule: Rule, policy: Policy, *, otherwise: bool) -> bool:
    return table[rule.id](policy) if rule.id in table else otherwise


def _demanded(policy: Policy) -> Iterator[tuple[str, Effect, KeyPath]]:
    never: tuple[tuple[Effect, Mapping[str, Asked]], ...] = (
        (Effect.ALLOW, _NEVER_ALLOWS),
        (Effect.DENY, _NEVER_DENIES),
    )
    for rule in RULES:
        if uses(policy, rule):
            for effect, exceptions in never:
                if not _holds(exceptions, rule, policy, otherwise=False):
                    yield rule.id, effect, (rule.sections or ("valid_until",))[:1]
    for index, waiver in enumerate(policy.waivers or ()):
        yield waiver.rule, Effect.WAIVED, ("waivers", index)


def _name_of(result: Result, which: str) -> str:
    return result.trial.site if which == "site" else "baseline"


def _problem(document: Document[Policy], name: str, rule: str, effect: Effect, path: KeyPath) -> Problem:
    said = {Effect.ALLOW: "allow", Effect.DENY: "deny"}.get(effect, "waive its denial")
    expected = "deny" if effect is Effect.DENY else "allow"
    named = f" and `rules: [{rule}]`" if effect in (Effect.DENY, Effect.WAIVED) else ""
    where = "any site" if name == "baseline" else f"site `{name}`"
    hint = f"write one at {where} with `expect: {expected}`{named} in `{CASES}/{rule}.yaml`"
    message = f"no case that holds makes the rule `{rule}` of `{name}` {said}"
    return Problem(document.source.file, document.source.line(path), message, hint)
