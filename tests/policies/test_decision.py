# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from cloister.policies import Decision, Effect, Outcome
from cloister.policies.decision import listed, quoted

ALLOW = Outcome("purpose", Effect.ALLOW, "granted")
SILENT = Outcome("purpose", Effect.NOT_APPLICABLE, "no floor")
WAIVED = Outcome("hours", Effect.WAIVED, "too late; waived", "policies/hospital-north.yaml:9")
DENY = Outcome("purpose", Effect.DENY, "purpose `x` is not granted", "policies/hospital-north.yaml:12", "jobs/x.yaml:3")


@pytest.mark.parametrize(
    ("outcomes", "allowed"),
    [
        ((), False),
        ((SILENT,), False),
        ((ALLOW,), True),
        ((ALLOW, SILENT), True),
        ((ALLOW, DENY), False),
        ((DENY, ALLOW, ALLOW), False),
        ((ALLOW, Outcome("purpose", "maybe", "")), False),  # type: ignore[arg-type]
        ((ALLOW, WAIVED), True),
        ((ALLOW, WAIVED, SILENT), True),
        ((WAIVED,), False),
        ((ALLOW, WAIVED, DENY), False),
    ],
)
def test_forbid_wins_and_the_default_is_deny(outcomes: tuple[Outcome, ...], allowed: bool) -> None:
    assert Decision(outcomes).allowed is allowed


def test_a_refusal_names_rule_reason_and_both_places() -> None:
    said = "`purpose`: purpose `x` is not granted (policies/hospital-north.yaml:12; jobs/x.yaml:3)"
    assert DENY.sentence() == said
    assert Decision((ALLOW, DENY)).sentence() == said
    assert Decision((DENY, DENY)).sentence() == f"{said}; {said}"


def test_places_that_are_not_known_are_left_out() -> None:
    assert ALLOW.sentence() == "`purpose`: granted"
    assert Outcome("silo", Effect.DENY, "no", "a.yaml:1").sentence() == "`silo`: no (a.yaml:1)"


def test_nothing_that_allows_is_said_to_be_so() -> None:
    assert Decision((SILENT,)).sentence() == "no rule allows it"


def test_what_was_waived_is_said() -> None:
    decision = Decision((ALLOW, WAIVED))
    assert decision.waived == (WAIVED,)
    assert decision.sentence() == "allowed by 1 rules; `hours`: too late; waived (policies/hospital-north.yaml:9)"


def test_json_is_plain_and_whole() -> None:
    decision = Decision((ALLOW, DENY))
    assert json.loads(json.dumps(decision.to_json())) == {
        "allowed": False,
        "outcomes": [
            {
                "rule": "purpose",
                "effect": "allow",
                "message": "granted",
                "policy_at": "",
                "job_at": "",
                "document": "site",
                "stated": True,
            },
            {
                "rule": "purpose",
                "effect": "deny",
                "message": "purpose `x` is not granted",
                "policy_at": "policies/hospital-north.yaml:12",
                "job_at": "jobs/x.yaml:3",
                "document": "site",
                "stated": True,
            },
        ],
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ada", "`ada`"),
        ("a\nb", "`a?b`"),
        ("a`b", "`a?b`"),
        ("\u202eada", "`?ada`"),
        ("x" * 81, f"`{'x' * 80}…`"),
        ("x" * 80, f"`{'x' * 80}`"),
    ],
)
def test_text_from_outside_stays_on_its_line(text: str, shown: str) -> None:
    assert quoted(text) == shown


def test_names_are_listed_each_in_backticks() -> None:
    assert [listed([]), listed(["a"]), listed(("a", "b`"))] == ["", "`a`", "`a`, `b?`"]
