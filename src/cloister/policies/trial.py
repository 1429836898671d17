# SPDX-License-Identifier: Apache-2.0
"""Cases put to the policies: what was expected of each site, and what came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloister.documents import Document
from cloister.jobs import Job
from cloister.policies.cases import Case, Cases, CaseSubmitter, facts, numbered, patched, stranger
from cloister.policies.decide import decide
from cloister.policies.decision import Decision, listed
from cloister.policies.pair import Policies
from cloister.policies.request import Request, Submitter
from cloister.roster import Federation, Role
from cloister.silos import Silo


@dataclass(frozen=True)
class Trial:
    """One case at one site.

    Attributes:
        rule: the rule that the case's file is named after.
        case: what is asked and expected.
        place: `file:line` of the case.
        request: what is asked, as `decide` is given it.
        now: the moment.
    """

    rule: str
    case: Case
    place: str
    request: Request
    now: datetime

    @property
    def site(self) -> str:
        """Who is asked."""
        return self.request.site

    @property
    def expected(self) -> str:
        """The answer that the case expects, in words."""
        return _answer(self.case.expect == "allow", self.case.rules)


@dataclass(frozen=True)
class Result:
    """What came of a trial."""

    trial: Trial
    decision: Decision

    @property
    def came(self) -> str:
        """The answer that came, in words."""
        return answer(self.decision)

    @property
    def passed(self) -> bool:
        """Whether the answer is the expected one, with exactly the rules that it names."""
        case = self.trial.case
        if self.decision.allowed != (case.expect == "allow"):
            return False
        named = self.decision.waived if self.decision.allowed else self.decision.refusals
        return {outcome.rule for outcome in named} == set(case.rules)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "case": self.trial.case.case,
            "at": self.trial.place,
            "site": self.trial.site,
            "expected": self.trial.case.expect,
            "rules": sorted(set(self.trial.case.rules)),
            "passed": self.passed,
            "decision": self.decision.to_json(),
        }


def answer(decision: Decision) -> str:
    """``decision`` in a few words: `allow`, or `deny` with the rules that deny; and what is waived."""
    named = decision.waived if decision.allowed else decision.refusals
    return _answer(decision.allowed, [outcome.rule for outcome in named])


def _answer(allowed: bool, rules: Iterable[str]) -> str:
    names = sorted(set(rules))
    word, joint = ("allow", "waiving") if allowed else ("deny", "by")
    return f"{word} {joint} {listed(names)}" if names else word


def default_submitter(roster: Federation) -> str | None:
    """The roster's data scientist; None where it has none or several."""
    names = [person.name for person in roster.people if person.role is Role.DATA_SCIENTIST]
    return names[0] if len(names) == 1 else None


def person_of(roster: Federation, name: str) -> Submitter:
    """A person as a job that they signed would bring them; nobody's organisation and role where the roster has none."""
    entry = roster.person(name)
    return Submitter(name, entry.organisation if entry else "", entry.role.value if entry else "")


def trials(
    cases: Mapping[str, Document[Cases]],
    jobs: Mapping[str, Document[Job]],
    silos: Mapping[str, Document[Silo]],
    roster: Federation,
) -> tuple[Trial, ...]:
    """Every case at each of its sites that has a silo here, for documents that agree with each other.

    Raises:
        InvalidDocumentsError: where a case makes of its job what is none.
    """
    found = []
    for rule, document, index, case in numbered(cases):
        job = patched(jobs[case.job], document, index)
        submitter = _submitter(case, roster)
        view, leaving = facts(case)
        place, now = document.source.at("cases", index), case.now or document.value.now
        for site in filter(silos.__contains__, case.sites):
            request = Request(site, submitter, job, silos[site], code=case.code, view=view, leaving=leaving)
            found.append(Trial(rule, case, place, request, now))
    return tuple(found)


def _submitter(case: Case, roster: Federation) -> Submitter:
    if isinstance(case.submitter, CaseSubmitter):
        return stranger(case.submitter)
    return person_of(roster, case.submitter or default_submitter(roster) or "")


def results(asked: Iterable[Trial], policies_of: Callable[[str], Policies | None]) -> tuple[Result, ...]:
    """What each of ``asked`` is answered by the policies of its site."""
    return tuple(Result(trial, decide(trial.request, policies_of(trial.site), trial.now)) for trial in asked)
