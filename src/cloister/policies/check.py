# SPDX-License-Identifier: Apache-2.0
"""One rule held against one policy document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime

from cloister.documents import Document, KeyPath
from cloister.jobs import Job
from cloister.policies.decision import Effect, Outcome, Which, quoted
from cloister.policies.model import Policy
from cloister.policies.request import Request
from cloister.policies.sections import DatasetGrant
from cloister.silos import Silo

Outcomes = tuple[Outcome, ...]


@dataclass(frozen=True)
class Check:
    """What a rule is given, and how it answers.

    A rule is asked twice, for the site's own policy and for the baseline. It answers with one or more outcomes; an
    empty answer is taken as a denial.

    Attributes:
        rule: the rule's id.
        request: what is asked.
        document: the policy document.
        of_baseline: whether that is the baseline; facts of the silo are checked once, with the site's own policy.
        now: the moment of the decision, UTC.
    """

    rule: str
    request: Request
    document: Document[Policy]
    of_baseline: bool
    now: datetime

    @property
    def today(self) -> date:
        """The day of the decision, UTC."""
        return self.now.date()

    @property
    def policy(self) -> Policy:
        """What the policy document says."""
        return self.document.value

    @property
    def job(self) -> Job:
        """What the job document says."""
        return self.request.job.value

    @property
    def silo(self) -> Silo:
        """What the silo document says."""
        return self.request.silo.value

    def silo_at(self, *path: str | int) -> str:
        """`file:line` in the silo document."""
        return self.request.silo.source.at(*path)

    def allow(self, message: str, *, policy: KeyPath = (), job: KeyPath | None = None) -> Outcomes:
        """Answer that this rule has nothing against it."""
        return (self._outcome(Effect.ALLOW, message, policy, job),)

    def deny(self, message: str, *, policy: KeyPath = (), job: KeyPath | None = None) -> Outcomes:
        """Answer that this rule forbids it."""
        return (self._outcome(Effect.DENY, message, policy, job),)

    def unstated(self, message: str, *, policy: KeyPath = (), job: KeyPath | None = None) -> Outcomes:
        """Answer that this rule forbids it because the policy states no limit for it, which no waiver can stretch."""
        return tuple(replace(outcome, stated=False) for outcome in self.deny(message, policy=policy, job=job))

    def not_applicable(self, message: str) -> Outcomes:
        """Answer that the rule has nothing to say here."""
        return (Outcome(self.rule, Effect.NOT_APPLICABLE, message, document=self.which),)

    @property
    def which(self) -> Which:
        """Of which of the two documents the rule is asked."""
        return "baseline" if self.of_baseline else "site"

    @property
    def dataset(self) -> DatasetGrant | None:
        """What the policy grants of the job's dataset; None where it grants nothing."""
        return (self.policy.datasets or {}).get(self.job.dataset.name)

    def not_granted(self) -> Outcomes:
        """Answer for a policy without a grant of the job's dataset; see `silent` for one without any."""
        path: KeyPath = ("dataset", "name")
        if self.policy.datasets is None:
            return self.silent("datasets", job=path)
        message = f"dataset {quoted(self.job.dataset.name)} is not granted"
        return self.deny(message, policy=("datasets",), job=path)

    def silent(self, key: str, *, job: KeyPath | None = None) -> Outcomes:
        """Answer for a policy without the section ``key``: a site's denies, the baseline's sets no floor."""
        if self.of_baseline:
            return self.not_applicable(f"the baseline sets no floor with `{key}`")
        return self.deny(f"the policy has no section `{key}`, so it grants nothing here", job=job)

    def _outcome(self, effect: Effect, message: str, policy: KeyPath, job: KeyPath | None) -> Outcome:
        job_at = "" if job is None else self.request.job.source.at(*job)
        return Outcome(self.rule, effect, message, self.document.source.at(*policy), job_at, self.which)


@dataclass(frozen=True)
class Rule:
    """One question that every request must pass.

    Attributes:
        id: its name in decisions and in docs/policies.md; its file's name with hyphens.
        judge: answers for one policy document.
        sections: the policy's top-level keys that it reads; a policy with none of them does not use the rule.
        waivable: whether a waiver may set its denials aside.
    """

    id: str
    judge: Callable[[Check], Outcomes]
    sections: tuple[str, ...] = ()
    waivable: bool = False
