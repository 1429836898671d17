# SPDX-License-Identifier: Apache-2.0
"""What a change of policies changes: not which lines, but which decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloister.policies.decide import decide
from cloister.policies.decision import Decision
from cloister.policies.pair import Policies
from cloister.policies.request import Request


@dataclass(frozen=True)
class Question:
    """Something that is asked of the old and of the new policies.

    Attributes:
        about: what it is, for people.
        request: what is asked, as `decide` is given it.
        now: the moment.
    """

    about: str
    request: Request
    now: datetime


@dataclass(frozen=True)
class Change:
    """A question that is answered otherwise now: with another answer, by other rules, or with other waivers."""

    question: Question
    before: Decision
    after: Decision

    def sentence(self) -> str:
        """What was and what is, with the rules and lines that it rests on, as one line."""
        was, now = _answer(self.before, with_lines=False), _answer(self.after, with_lines=True)
        return f"{self.question.about} at {self.question.request.site}: was {was}, now {now}"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "about": self.question.about,
            "site": self.question.request.site,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }


def changes(
    asked: Iterable[Question], old: Callable[[str], Policies | None], new: Callable[[str], Policies | None]
) -> tuple[Change, ...]:
    """The questions that ``new`` answers otherwise than ``old``; each gives the policies of a site."""
    found = []
    for question in asked:
        site = question.request.site
        before, after = (decide(question.request, of(site), question.now) for of in (old, new))
        if _essence(before) != _essence(after):
            found.append(Change(question, before, after))
    return tuple(found)


def _essence(decision: Decision) -> tuple[bool, frozenset[str], frozenset[str]]:
    refused, waived = decision.refusals, decision.waived
    return decision.allowed, frozenset(each.rule for each in refused), frozenset(each.rule for each in waived)


def _answer(decision: Decision, *, with_lines: bool) -> str:
    outcomes = decision.waived if decision.allowed else decision.refusals
    word, joint = ("allowed", "waiving") if decision.allowed else ("denied", "by")
    lines: dict[str, list[str]] = {}
    for outcome in outcomes:
        lines.setdefault(outcome.rule, []).append(outcome.policy_at)
    rules = [
        f"`{rule}`" + (f" ({', '.join(dict.fromkeys(filter(None, places)))})" if with_lines and any(places) else "")
        for rule, places in lines.items()
    ]
    return f"{word} {joint} {', '.join(rules)}" if rules else word
